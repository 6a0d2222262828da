"""Pay a tip: read it, request an invoice from the recipient, commit to the invoice, pay it, write the outcome.

No transaction is open during remote calls. Between the commit and the outcome the tip is `paying`. From then on its
payment is looked up, even after crashes. The same invoice may be sent again while it can be paid, since a node pays it
once. A new one is requested only if the node reports that this one failed and no other request for it may be in
progress, or if a person retries the tip.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from keysat.core import clock
from keysat.core.db import Database
from keysat.core.errors import AccountUnusable, Conflict, KeysatError, NotFound, RemoteError
from keysat.core.hints import Hint
from keysat.core.logs import get_logger
from keysat.core.money import MSAT
from keysat.core.settings import Settings
from keysat.models import ProviderAccount, Tip
from keysat.models.tip import TipStatus
from keysat.net.addresses import Networks
from keysat.net.lightning_address import parse_address
from keysat.net.untrusted import UntrustedClient
from keysat.providers.base import Provider
from keysat.providers.lightning import LightningPayment, PaymentState
from keysat.providers.refusals import with_article
from keysat.providers.registry import provider_for
from keysat.tips import bolt11, due
from keysat.tips.lnurl import RecipientRefused, ask_for_invoice

_DEADLINE_SECONDS = 5.0  # for each of the two calls to the recipient
_MAX_BYTES = 262_144  # metadata may contain an image: up to 136 KB
_MIN_FEE_MSAT = 10 * MSAT

log = get_logger(__name__)


@dataclass(frozen=True)
class Payer:
    """The client and limits that a process needs to pay tips."""

    client: UntrustedClient
    network: str
    max_tip_msat: int
    budget: due.Budget
    fee_bps: int
    allow_local: bool

    @classmethod
    def of(cls, settings: Settings) -> Payer:
        """Build the payer from the settings."""
        allowed = Networks.parse(settings.tip_allowed_networks)
        return cls(
            UntrustedClient(allowed, deadline=_DEADLINE_SECONDS, max_bytes=_MAX_BYTES, ca_file=settings.ca_file),
            settings.lightning_network,
            settings.tip_max_sats * MSAT,
            due.Budget(settings.tip_daily_sats * MSAT),
            settings.tip_max_fee_bps,
            bool(allowed.networks),
        )

    def max_fee_msat(self, amount_msat: int) -> int:
        """Return the max fee for a payment, in millisatoshi."""
        return max(_MIN_FEE_MSAT, amount_msat * self.fee_bps // 10_000)


def pay(database: Database, payer: Payer, tip_id: UUID, actor: str) -> TipStatus:
    """Advance a tip by one step and return its new status. Safe to repeat, reorder and run concurrently.

    Raises:
        NotFound: no such tip.
    """
    with database.reading() as session:
        tip = session.get(Tip, tip_id)
        account = None if tip is None else session.get_one(ProviderAccount, tip.provider_account_id)
    if tip is None or account is None:
        raise NotFound("tip", tip_id, Hint.LIST_TIPS)
    if tip.status == TipStatus.PAYING:
        _look_up(database, payer, tip, account, actor)
    elif tip.status == TipStatus.OWED:
        _pay(database, payer, tip, account, actor)
    with database.reading() as session:
        return session.get_one(Tip, tip_id, populate_existing=True).status


def _pay(database: Database, payer: Payer, tip: Tip, account: ProviderAccount, actor: str) -> None:
    try:
        provider = provider_for(account)
    except AccountUnusable as error:
        _try_again(database, tip, error, actor)
        return
    if (why := _unpayable(provider)) is not None:
        with database.transaction() as session:
            due.skip(session, tip, why, actor)
        return
    if tip.amount_msat > payer.max_tip_msat:
        with database.transaction() as session:
            due.fail(
                session, tip, f"it is more than the largest single tip, {payer.max_tip_msat // MSAT:,} sats", actor
            )
        return
    try:
        address = parse_address(tip.recipient, allow_local=payer.allow_local)
        offered = ask_for_invoice(payer.client, address, tip.amount_msat)
        invoice = bolt11.check(
            offered.bolt11,
            amount_msat=tip.amount_msat,
            network=payer.network,
            description_hash=offered.description_hash,
            now=clock.now(),
        )
    except KeysatError as error:
        _try_again(database, tip, error, actor)
        return
    try:
        with database.transaction() as session:
            ours = due.begin_paying(session, tip, invoice, payer.budget)
    except Conflict:
        _try_again(database, tip, RecipientRefused(f"{address} sent an invoice that was used for a tip before."), actor)
        return
    if not ours:
        return
    with database.reading() as session:
        tip = session.get_one(Tip, tip.id)
    _write(database, tip, _send(provider, payer, tip), actor)


def _send(provider: Provider, payer: Payer, tip: Tip) -> LightningPayment:
    try:
        return provider.pay_lightning_invoice(tip.bolt11 or "", payer.max_fee_msat(tip.amount_msat))
    except RemoteError as error:  # the request itself was refused, e.g. for its credentials: may be temporary
        log.warning("a tip's payment request failed", tip_id=str(tip.id), reason=str(error))
        return LightningPayment(None, PaymentState.UNKNOWN)


def _look_up(database: Database, payer: Payer, tip: Tip, account: ProviderAccount, actor: str) -> None:
    try:
        provider = provider_for(account)
        payment = provider.find_lightning_payment(tip.payment_hash or "")
    except KeysatError as error:
        log.warning("a tip's payment can't be read", tip_id=str(tip.id), reason=str(error))
        with database.transaction() as session:
            due.look_up_later(session, tip)
        return
    if payment.state is PaymentState.UNKNOWN and payment.not_found:
        with database.transaction() as session:
            again = due.begin_again(session, tip)
        if again:
            with database.reading() as session:
                tip = session.get_one(Tip, tip.id)
            sent = _send(provider, payer, tip)
            # A failure to send it now doesn't prove that it wasn't sent before.
            payment = sent if sent.state is PaymentState.PAID else LightningPayment(None, PaymentState.UNKNOWN)
    _write(database, tip, payment, actor)


def _write(database: Database, tip: Tip, payment: LightningPayment, actor: str) -> None:
    reported_hash = (payment.payment_hash or "").lower()
    # Only a response about this very payment is used. A refusal contains no payment hash.
    unrelated = reported_hash != tip.payment_hash if reported_hash else payment.state is PaymentState.PAID
    with database.transaction() as session:
        match PaymentState.UNKNOWN if unrelated else payment.state:
            case PaymentState.PAID:
                due.end_sent(session, tip, payment.fee_msat, actor)
            case PaymentState.FAILED:
                due.payment_failed(session, tip, actor)
            case PaymentState.UNKNOWN:
                due.look_up_later(session, tip)


def _try_again(database: Database, tip: Tip, error: KeysatError, actor: str) -> None:
    log.warning("a tip wasn't paid", tip_id=str(tip.id), reason=str(error))
    with database.transaction() as session:
        due.try_again(session, tip, str(error), actor)


def _unpayable(provider: Provider) -> str | None:
    """Return why this installation can't pay a tip at all, or None."""
    if not provider.pays_lightning:
        return f"{with_article(provider.kind)} provider makes no Lightning payments"
    if not bolt11.available():
        return "the package bolt11 is missing: install keysat[lightning], then retry the tip"
    return None
