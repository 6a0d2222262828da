"""Read an invoice and its account before the provider is called, and record what the provider reported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import bindparam, func, label, or_, select, update
from sqlalchemy.orm import Session

from keysat.core.errors import require
from keysat.core.hints import Hint
from keysat.core.money import Money
from keysat.invoices.schedule import FINAL_AFTER, interval
from keysat.models import Invoice, InvoiceCheck, ProviderAccount
from keysat.models.invoice_status import InvoiceStatus
from keysat.providers.base import InvoiceSnapshot
from keysat.settlement.outcome import InvoiceState

_MAX_READING = 500


@dataclass(frozen=True)
class Check:
    """The columns a check needs, named as in the tables. `now` is the database time of the read."""

    invoice_id: UUID
    account_id: UUID
    provider_invoice_id: str | None
    status: InvoiceStatus
    amount: int
    currency: str
    paid_amount: int | None
    rest_paid: int
    reviewed: list[str]
    license_due: bool
    reversed_at: datetime | None
    last_error: str | None
    name: str
    kind: str
    base_url: str
    store_id: str
    sealed_credentials: bytes
    ca_pem: str | None
    pause_reason: str | None
    failure_count: int
    open_until: datetime | None
    breaker_open: bool
    created_at: datetime
    expires_at: datetime | None
    next_check_at: datetime | None
    settled_by_hand: bool
    last_said: str | None
    payment_seen_at: datetime | None
    final_check_at: datetime | None
    payments_read: bool
    now: datetime

    @property
    def ids(self) -> dict[str, str]:
        """The ids of its log lines."""
        return {"invoice_id": str(self.invoice_id), "account": self.name}

    @property
    def known(self) -> InvoiceState:
        """The state that `decide` takes."""
        return state_of(self, last=self.is_last)

    def paid_of(self, snapshot: InvoiceSnapshot) -> int | None:
        """Return the paid amount from the snapshot, in the invoice's currency, or else the stored amount."""
        same_currency = snapshot.paid is not None and snapshot.paid.currency == self.currency
        return snapshot.paid.amount if snapshot.paid is not None and same_currency else self.paid_amount

    @property
    def age(self) -> timedelta:
        """Time since the invoice was created."""
        return self.now - self.created_at

    @property
    def is_over(self) -> bool:
        """Whether the invoice is too old to be checked further, according to the clock now."""
        return interval(self.status, self.age) is None and self.next_check_at is not None

    @property
    def is_last(self) -> bool:
        """Whether this check, if it succeeds, is the last: a check at least a day ago also found the invoice too old.

        A single wrong clock reading doesn't end the checks.
        """
        return self.is_over and self.final_check_at is not None and self.final_check_at <= self.now - FINAL_AFTER

    @property
    def final_noted(self) -> bool:
        """Whether an earlier check found the invoice too old. A time in the future comes from a wrong clock."""
        return self.final_check_at is not None and self.final_check_at <= self.now

    @property
    def not_callable(self) -> str | None:
        """Why the account must not be called now, as a predicate, or None."""
        if self.pause_reason is not None:
            return f"is paused ({self.pause_reason})"
        if self.breaker_open:
            return f"is left alone until {self.open_until:%H:%M:%S} UTC after failures"
        return None


def state_of(row: Check | Invoice, *, last: bool = False) -> InvoiceState:
    """Return the state that `decide` takes. `last`: this is the last check of an old invoice.

    Raises:
        InvalidInput: another version wrote the row, and this one doesn't know its currency.
    """
    return InvoiceState(
        status=row.status,
        price=Money(row.amount, row.currency),
        reviewed=frozenset(row.reviewed),
        reversed=row.reversed_at is not None,
        by_hand=row.settled_by_hand,
        last=last,
        paid=(row.paid_amount or 0) + row.rest_paid,
        seen=row.payment_seen_at is not None,
        rest=row.rest_paid,
    )


# Built once: the statement runs for each check, and building it costs as much as running it.
_invoices, _accounts = Invoice.__table__.c, ProviderAccount.__table__.c
_CHECK = (
    select(
        _invoices.id.label("invoice_id"),
        _invoices.provider_account_id.label("account_id"),
        _invoices.provider_invoice_id,
        _invoices.status,
        _invoices.amount,
        _invoices.currency,
        _invoices.paid_amount,
        _invoices.rest_paid,
        _invoices.reviewed,
        Invoice.license_due.label("license_due"),
        _invoices.reversed_at,
        _invoices.last_error,
        _accounts.name,
        _accounts.kind,
        _accounts.base_url,
        _accounts.store_id,
        _accounts.sealed_credentials,
        _accounts.ca_pem,
        _accounts.pause_reason,
        _accounts.failure_count,
        _accounts.open_until,
        label("breaker_open", ProviderAccount.breaker_open(func.now())),
        _invoices.created_at,
        _invoices.expires_at,
        _invoices.next_check_at,
        _invoices.settled_by_hand,
        _invoices.last_said,
        _invoices.payment_seen_at,
        _invoices.final_check_at,
        _invoices.payment_hashes.is_not(None).label("payments_read"),
        func.now().label("now"),
    )
    .where(_accounts.id == _invoices.provider_account_id)
    .where(_invoices.id == bindparam("invoice_id"))
)


def load(session: Session, invoice_id: UUID) -> Check:
    """Read an invoice and its account in one statement.

    Raises:
        NotFound: no such invoice.
    """
    row = session.execute(_CHECK, {"invoice_id": invoice_id}).one_or_none()
    return Check(**require(row, "invoice", invoice_id, Hint.LIST_INVOICES)._asdict())


def record_reading(session: Session, invoice_id: UUID, actor: str, provider_status: str, outcome: str) -> None:
    """Store the provider status and the outcome of a check, unless the status is the same as at the check before."""
    provider_status = provider_status[:_MAX_READING]
    checks = session.scalar(
        update(Invoice)
        .where(Invoice.id == invoice_id, or_(Invoice.last_said.is_(None), Invoice.last_said != provider_status))
        .values(last_said=provider_status)
        .returning(Invoice.check_count)
    )
    if checks is not None:
        session.add(
            InvoiceCheck(
                invoice_id=invoice_id, actor=actor, provider_status=provider_status, outcome=outcome, check_count=checks
            )
        )
