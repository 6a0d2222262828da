"""A purchase as its buyer sees it: the state of the invoice, and the license once it is there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from keysat.core.money import Money, stored_money
from keysat.invoices.rest import current_of, excess_of, missing_of, waits_for_confirmation
from keysat.models import Invoice, License, Policy, Product
from keysat.models.holders import license_of_invoice, purchase_of
from keysat.models.invoice_status import InvoiceStatus, PaymentException
from keysat.models.license import LicenseStatus
from keysat.operations.why import State, Why, read_why
from keysat.sales.renew import price_of_renewal

# The page asks again soon, or now and then because a person or a late payment may still change it, or never.
_SOON = {
    State.WAITING,
    State.UNCHECKED,
    State.OVERDUE,
    State.PART_PAID,
    State.SEEN,
    State.LICENSE_DUE,
    State.STUCK,
    State.ACCOUNT_FAILING,
    State.ACCOUNT_PAUSED,
    State.ACCOUNT_REJECTED,
}
_NEVER = {State.LICENSED, State.REVERSED, State.NEVER_MADE}
_PAYABLE = {State.WAITING, State.UNCHECKED, State.OVERDUE, State.PART_PAID, State.STUCK, State.ACCOUNT_FAILING}
_TROUBLE = {State.STUCK, State.OVERDUE, State.ACCOUNT_FAILING, State.ACCOUNT_PAUSED, State.ACCOUNT_REJECTED}
_OVER = {State.EXPIRED, State.INVALID, State.NEVER_MADE}
_TAKEN = {"revoked", "transferred"}
_PACE = ((timedelta(minutes=2), 3), (timedelta(minutes=10), 10))
_SLOW_SECONDS = 30


@dataclass(frozen=True)
class Progress:
    """A purchase. `face` names its texts: the state, or that of a license that isn't valid.

    `current` is the invoice to pay, which `why` is about: the purchase's own, or the one for its rest. `excess` is what
    was paid for rests and counts for nothing. `renewal` is the price of the next period if it may be paid now.
    """

    face: str
    why: Why
    invoice: Invoice
    current: Invoice
    excess: int
    product: Product
    policy: Policy
    owned: License | None
    renewal: Money | None

    @property
    def tone(self) -> str:
        """How the page looks: good, busy, trouble or over."""
        if self.face == State.LICENSED:
            return "good"
        if self.face in _OVER | _TAKEN | {"ended"}:
            return "over"
        return "busy" if self.why.state in _SOON - _TROUBLE else "trouble"

    @property
    def shows_key(self) -> bool:
        """Whether the license's key is shown. A revoked one's isn't, nor that of another holder."""
        owned = self.owned
        return owned is not None and owned.status != LicenseStatus.REVOKED and owned.belongs_to(self.invoice.created_at)

    @property
    def payable_at(self) -> str | None:
        """Where it may still be paid, or None. A payment that was seen isn't made again, but a part is completed."""
        open_still = self.current.status == InvoiceStatus.PENDING and self.why.state in _PAYABLE
        return self.current.checkout_url if open_still and not waits_for_confirmation(self.current) else None

    @property
    def rest(self) -> Money | None:
        """What is missing and may be paid by another invoice, or None."""
        return missing_of(self.current)

    @property
    def price(self) -> Money:
        """The price of the purchase."""
        return stored_money(self.invoice.amount, self.invoice.currency)

    @property
    def paid(self) -> Money:
        """What arrived for the purchase. A rest charges what was missing when it was opened."""
        paid = self.invoice.amount - self.current.amount + self.why.paid.amount
        return stored_money(paid, self.invoice.currency)

    @property
    def paid_so_far(self) -> Money | None:
        """What arrived for the purchase, if it is a part of the price and didn't go back."""
        is_part = 0 < self.paid.amount < self.price.amount
        return self.paid if is_part and not self.invoice.reversed else None

    @property
    def over(self) -> Money | None:
        """What was paid beyond the price, or None. If the payment went back, so did what it was too much."""
        if self.invoice.reversed:
            return None
        extra = (self.excess if self._is_paid else 0) + (self.why.over.amount if self.why.over else 0)
        return stored_money(extra, self.invoice.currency) if extra else None

    @property
    def set_aside(self) -> Money | None:
        """What was paid for rests of a purchase that isn't paid, or not any more, and counts for nothing. Or None."""
        return stored_money(self.excess, self.invoice.currency) if self.excess and not self._is_paid else None

    @property
    def _is_paid(self) -> bool:
        return self.invoice.status == InvoiceStatus.SETTLED and not self.invoice.reversed

    @property
    def payable_until(self) -> datetime | None:
        """Until when it may still be paid, or None if that is unknown."""
        end = self.current.expires_at
        return end if end is not None and end > self.why.now and self.payable_at else None

    @property
    def may_check(self) -> bool:
        """Whether the buyer may trigger a check."""
        return self.why.state in _SOON - {State.LICENSE_DUE} and self.face != "preparing"

    @property
    def may_buy_again(self) -> bool:
        """Whether the same may be bought again."""
        return self.why.state in _OVER or (self.face == "ended" and self.renewal is None)

    @property
    def needs_seller(self) -> bool:
        """Whether the buyer should write to the seller."""
        in_trouble = self.tone == "trouble" and self.why.state not in _TROUBLE
        return in_trouble or self.face in _TAKEN or self.over is not None or self.set_aside is not None

    @property
    def paid_late(self) -> bool:
        """Whether the payment counts although it came late."""
        return self.owned is not None and self.invoice.exception == PaymentException.LATE

    @property
    def seconds(self) -> int | None:
        """When the page asks again, in seconds, or None."""
        if self.why.state in _NEVER and self.face != LicenseStatus.SUSPENDED:  # which the seller may undo
            return None
        age = self.why.now - self.current.created_at
        pace = next((seconds for limit, seconds in _PACE if age < limit), _SLOW_SECONDS)
        return pace if self.why.state in _SOON else _SLOW_SECONDS


def read_progress(session: Session, invoice_id: UUID) -> Progress | None:
    """Read a purchase, or None if there is none."""
    invoice = session.get(Invoice, invoice_id)
    if invoice is None:
        return None
    invoice = purchase_of(session, invoice)
    current = current_of(session, invoice)
    why, owned = read_why(session, current), license_of_invoice(session, invoice)
    product, policy = session.get_one(Product, invoice.product_id), session.get_one(Policy, invoice.policy_id)
    excess = excess_of(session, invoice)
    renewal = price_of_renewal(session, owned) if owned and owned.belongs_to(invoice.created_at) else None
    face = _face(why, invoice, current, owned)
    return Progress(face, why, invoice, current, excess, product, policy, owned, renewal)


def face_of(owned: License, now: datetime) -> str:
    """Return the word for a license as its holder sees it: its status, or `ended` once it is no longer valid."""
    over = owned.valid_until is not None and owned.valid_until < now
    return "ended" if over and owned.status == LicenseStatus.ACTIVE else owned.status


def _face(why: Why, purchase: Invoice, invoice: Invoice, owned: License | None) -> str:
    if why.state is State.LICENSED and owned is not None:
        if not owned.belongs_to(purchase.created_at):
            return "transferred"
        face = face_of(owned, why.now)
        return why.state if face == LicenseStatus.ACTIVE else face
    unopened = invoice.is_draft and invoice.status == InvoiceStatus.PENDING
    return "preparing" if unopened and why.state in _PAYABLE else why.state
