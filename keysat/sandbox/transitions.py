"""Invoice transitions as pure functions. Each takes an invoice and returns the next one and BTCPay's events."""

from __future__ import annotations

from dataclasses import replace

from keysat.core.errors import Conflict
from keysat.sandbox.records import Additional, Draft, Event, Invoice, Payment, Status
from keysat.sandbox.views import payment_data

Step = tuple[Invoice, list[Event]]


def opened(store_id: str, draft: Draft, now: float) -> Step:
    """Create an invoice. An invoice over 0 is settled at once, as in BTCPay."""
    invoice = Invoice(store_id, draft, draft.amount or 0, now, int(now) + draft.expires_in)
    created = Event("InvoiceCreated", invoice, now)
    if not invoice.is_full:
        return invoice, [created]
    settled, events = _advanced(replace(invoice, paid_at=now), now)
    return settled, [created, *events]


def paid(invoice: Invoice, amount: int, now: float, *, is_confirmed: bool) -> Step:
    """Add a payment of `amount` (smallest unit), confirmed or not, in any state of the invoice."""
    return received(invoice, Payment(now, amount, is_confirmed), now)


def received(invoice: Invoice, payment: Payment, now: float) -> Step:
    """Add a payment in any state of the invoice."""
    after = replace(invoice, payments=(*invoice.payments, payment))
    if after.is_top_up and after.status is Status.NEW:
        after = replace(after, amount=after.paid)
    if after.paid_at is None and after.is_full:
        after = replace(after, paid_at=now)
    after, changes = _advanced(after, now)
    events = [_payment_event("InvoiceReceivedPayment", after, payment, now)]
    if payment.is_confirmed:
        events.append(_payment_event("InvoicePaymentSettled", after, payment, now))
    return after, events + changes


def paid_late(invoice: Invoice, amount: int, now: float, *, is_confirmed: bool) -> Step:
    """Expire the invoice and then add a payment of `amount` (smallest unit), in one step."""
    expired_one, first = expired(invoice, now)
    after, more = paid(expired_one, amount, now, is_confirmed=is_confirmed)
    return after, first + more


def confirmed(invoice: Invoice, now: float) -> Step:
    """Confirm all payments.

    Raises:
        Conflict: no payment is unconfirmed.
    """
    waiting = {payment.id for payment in invoice.payments if not payment.is_confirmed}
    if not waiting:
        raise Conflict(f"invoice {invoice.id} has no payment that waits for its confirmation.")
    payments = tuple(replace(payment, is_confirmed=True) for payment in invoice.payments)
    after, changes = _advanced(replace(invoice, payments=payments), now)
    events = [
        _payment_event("InvoicePaymentSettled", after, payment, now) for payment in payments if payment.id in waiting
    ]
    return after, events + changes


def expired(invoice: Invoice, now: float) -> Step:
    """Expire a new invoice. An expired invoice is returned unchanged.

    Raises:
        Conflict: the invoice is paid, settled or invalid.
    """
    if invoice.status is Status.EXPIRED:
        return invoice, []
    if invoice.status is not Status.NEW:
        raise Conflict(f"invoice {invoice.id} is {invoice.status} and can't expire any more.")
    after = replace(invoice, status=Status.EXPIRED, expires_at=min(invoice.expires_at, int(now)))
    return after, [Event("InvoiceExpired", after, now, {"partiallyPaid": bool(after.payments)})]


def marked(invoice: Invoice, status: Status, now: float) -> Step:
    """Settle or invalidate an invoice by hand, as a merchant does.

    Raises:
        Conflict: the invoice already has that status, or `status` is another one.
    """
    if status not in {Status.SETTLED, Status.INVALID}:
        raise Conflict(f"an invoice can be marked as Settled or Invalid, not as {status}.")
    if invoice.status is status:
        raise Conflict(f"invoice {invoice.id} is {status} already.")
    after = replace(invoice, status=status, additional=Additional.MARKED)
    if status is Status.INVALID:
        return after, [Event("InvoiceInvalid", after, now, {"manuallyMarked": True})]
    return after, [Event("InvoiceSettled", after, now, {"manuallyMarked": True, "overPaid": False})]


def refunded(invoice: Invoice, now: float) -> Step:
    """Record that the buyer was refunded, and mark the invoice invalid as a merchant does.

    Raises:
        Conflict: nothing was paid, or the invoice was already refunded.
    """
    if not invoice.payments or invoice.is_refunded:
        why = "was refunded already" if invoice.is_refunded else "got no payment that could be refunded"
        raise Conflict(f"invoice {invoice.id} {why}.")
    after = replace(invoice, is_refunded=True)
    return (after, []) if after.status is Status.INVALID else marked(after, Status.INVALID, now)


def _advanced(invoice: Invoice, now: float) -> Step:
    """Advance the status after a payment or a confirmation, in the order of BTCPay's own watcher."""
    over = {"overPaid": invoice.paid > invoice.amount}
    events: list[Event] = []
    after = replace(invoice, additional=_reason(invoice))
    if after.status is Status.NEW and after.is_full:
        after = replace(after, status=Status.PROCESSING)
        events.append(Event("InvoiceProcessing", after, now, over))
    if after.status is Status.PROCESSING and after.is_confirmed:
        after = replace(after, status=Status.SETTLED)
        events.append(Event("InvoiceSettled", after, now, {"manuallyMarked": False, **over}))
    return after, events


def _reason(invoice: Invoice) -> Additional:
    if invoice.additional is Additional.MARKED or not invoice.payments:
        return invoice.additional
    if not invoice.is_full:
        return Additional.PARTIAL
    if invoice.status is Status.EXPIRED:
        return Additional.LATE
    return Additional.OVER if invoice.paid > invoice.amount else Additional.NONE


def _payment_event(kind: str, invoice: Invoice, payment: Payment, now: float) -> Event:
    details = {
        "afterExpiration": invoice.status is Status.EXPIRED,
        "paymentMethodId": payment.method,
        "payment": payment_data(payment, invoice.draft.currency),
    }
    return Event(kind, invoice, now, details)
