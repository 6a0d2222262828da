"""Detect missing webhooks: invoices that checks found paid and that no webhook reported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from keysat.core.hints import Advice, Hint
from keysat.models import Invoice, ProviderAccount, ProviderEvent
from keysat.providers.registry import adapter_of

LATELY = timedelta(hours=24)
# A webhook and the scans race for an invoice, so one that is a little late is not missing.
GRACE = timedelta(seconds=60)
ENOUGH = 3


@dataclass(frozen=True)
class WebhooksMissing:
    """An account whose webhooks were connected and don't arrive. Its text is a sentence.

    `unreported` is the number of its invoices that were paid within the last day, after the last webhook, without a
    webhook about them. `last_event_at` is None if no webhook ever arrived.
    """

    account: str
    connected_at: datetime
    last_event_at: datetime | None
    unreported: int

    @property
    def hint(self) -> Hint:
        """The next step: register the webhook again."""
        return Hint.RECONNECT_ACCOUNT

    @property
    def facts(self) -> dict[str, object]:
        """What the hint needs."""
        return {"account": self.account}

    def __str__(self) -> str:
        if self.last_event_at is None:
            connected = _time(self.connected_at)
            found = f"the webhook of account {self.account} is registered since {connected}, and none arrived"
        else:
            found = (
                f"no webhook of account {self.account} arrived since {_time(self.last_event_at)}, "
                f"though {self.unreported} of its invoices were paid since; they were found by scheduled checks"
            )
        return f"{found}: is the public URL reachable from the provider, and does the web server run?"


def silent_accounts(session: Session) -> list[WebhooksMissing]:
    """Return the accounts whose webhooks are missing, by name. The cost grows with payments since the last webhook."""
    account = ProviderAccount
    reported = select(ProviderEvent.id).where(
        ProviderEvent.provider_account_id == account.id,
        ProviderEvent.provider_invoice_id == Invoice.provider_invoice_id,
    )
    unreported = (
        select(func.count())
        .where(
            Invoice.provider_account_id == account.id,
            Invoice.settled_at > func.greatest(func.now() - LATELY, account.last_event_at + GRACE),
            Invoice.settled_at < func.now() - GRACE,
            Invoice.settled_by_hand.is_(False),
            ~reported.exists(),
        )
        .scalar_subquery()
        .label("unreported")
    )
    rows = session.execute(
        select(
            account.name.label("account"),
            account.webhook_connected_at.label("connected_at"),
            account.last_event_at,
            unreported,
        )
        .where(account.webhook_connected_at < func.now() - GRACE)
        .order_by(account.name)
    )
    found = [WebhooksMissing(**row._asdict()) for row in rows]
    return [missing for missing in found if missing.last_event_at is None or missing.unreported >= ENOUGH]


def webhook_state(account: ProviderAccount) -> Advice:
    """Describe since when an account's webhooks are connected and when the last one arrived, or how to connect them."""
    if account.webhook_connected_at is None and adapter_of(account.kind).callback_per_invoice:
        return Advice("webhooks need no registration, since each invoice carries our URL; none arrived yet")
    if account.webhook_connected_at is None:
        sentence = "no webhook is connected, so payments are found by scheduled checks alone"
        return Advice(sentence, Hint.CONNECT_ACCOUNT, {"account": account.name})
    last = account.last_event_at
    came = "none arrived yet" if last is None else f"the last one arrived {_time(last)}"
    return Advice(f"webhooks are connected since {_time(account.webhook_connected_at)}, {came}")


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
