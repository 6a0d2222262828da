"""Explain why a buyer has no license yet, in one sentence with the amounts and the exact next command. No I/O."""

from __future__ import annotations

from datetime import datetime

from keysat.accounts import breaker
from keysat.core.money import Money
from keysat.models import Invoice, License, ProviderAccount
from keysat.models.invoice import InvoiceStatus, ReviewReason

_LATE_BY_SECONDS = 60


def explain(
    invoice: Invoice, account: ProviderAccount | None, owned: License | None, now: datetime, unhandled: int = 0
) -> str:
    """Describe the state of an invoice, and what happens next or what to do.

    `now` is the database's time. `unhandled` is the number of webhooks about it that aren't handled yet.
    """
    sentence = _ended(invoice, owned) or _stuck(invoice, account, now) or _waiting(invoice, now)
    return f"{sentence}; {unhandled} webhooks about it wait to be handled" if unhandled else sentence


def _ended(invoice: Invoice, owned: License | None) -> str | None:
    command = f"`keysat invoice {{}} {invoice.id} --note ...`"
    if invoice.reversed_at is not None:
        became = "before a license was issued" if owned is None else f"and the license is {owned.status}"
        if invoice.in_review:
            return (
                f"the payment went back {became}, and the provider calls it settled again: {command.format('restore')} "
                f"undoes the reversal, {command.format('dismiss')} leaves it"
            )
        return f"the payment went back {became}; {command.format('restore')} undoes that"
    if invoice.in_review:
        return (
            f"{_review(invoice)}: {command.format('settle')} issues the license, "
            f"{command.format('dismiss')} closes the review, as after a refund by hand"
        )
    if owned is not None:
        return f"the license was issued and is {owned.status}{_over(invoice)}"
    if invoice.status == InvoiceStatus.SETTLED:
        return f"it is paid{_over(invoice)}, and its license is due; the next scan issues it, if worker and beat run"
    if invoice.is_draft and invoice.status != InvoiceStatus.PENDING:
        return "the provider made no invoice for it, so nobody could pay it"
    return None


def _review(invoice: Invoice) -> str:
    asked, paid = Money(invoice.amount, invoice.currency), Money(invoice.paid_amount or 0, invoice.currency)
    short = Money(max(0, asked.amount - paid.amount), invoice.currency)
    match invoice.review_reason:
        case ReviewReason.UNDERPAID | ReviewReason.AMOUNT:
            return f"{paid} of {asked} were paid, {short} short"
        case ReviewReason.UNCONFIRMED if not paid.amount:
            return f"a payment of {asked} was seen and never confirmed; it settles by itself should it be"
        case ReviewReason.UNCONFIRMED:
            return f"{paid} of {asked} were paid and never confirmed; it settles by itself should they be"
        case ReviewReason.LATE:
            return f"{paid} of {asked} were paid after the invoice had expired"
        case ReviewReason.CURRENCY:
            return f"it was paid in another currency than the {asked} that were asked for"
        case ReviewReason.REFUNDED:
            return "the provider says that the payment was refunded"
        case ReviewReason.INVALIDATED:
            return "the provider calls the payment invalid after it had settled"
        case reason:
            return f"it waits for your decision ({reason})"


def _over(invoice: Invoice) -> str:
    paid = invoice.paid_amount or 0
    if not invoice.amount or paid <= invoice.amount:
        return ""
    return f" ({Money(paid - invoice.amount, invoice.currency)} more than the price were paid)"


def _stuck(invoice: Invoice, account: ProviderAccount | None, now: datetime) -> str | None:
    if account is None:
        return None
    if account.paused_at is not None and account.recheck_at is not None:
        return (
            f"account {account.name} is paused ({account.pause_reason}), so the provider isn't asked: "
            f"`keysat provider renew {account.name}` enters a new API key"
        )
    if account.paused_at is not None:
        return (
            f"account {account.name} is paused ({account.pause_reason}), so the provider isn't asked: "
            f"`keysat provider resume {account.name}`"
        )
    if breaker.is_open(account.open_until, now):
        until = f"{account.open_until:%H:%M:%S} UTC"
        return (
            f"account {account.name} fails ({account.last_error}) and isn't asked until {until}; it goes on by itself"
        )
    if invoice.last_error is not None:
        return f"the last check brought no usable answer: {invoice.last_error}"
    return None


def _waiting(invoice: Invoice, now: datetime) -> str:
    due = invoice.next_check_at
    if due is not None and (now - due).total_seconds() > _LATE_BY_SECONDS:
        return f"it should have been checked at {due:%H:%M:%S} UTC and wasn't: do worker and beat run? `keysat doctor`"
    following = "it is no longer checked" if due is None else f"the next check is at {max(due, now):%H:%M:%S} UTC"
    asked, paid = Money(invoice.amount, invoice.currency), Money(invoice.paid_amount or 0, invoice.currency)
    if invoice.payment_seen_at is not None and 0 < paid.amount < asked.amount:
        return f"{paid} of {asked} were paid so far; {following}"
    if invoice.payment_seen_at is not None:
        seen = paid if paid.amount else asked
        return f"{seen} were seen and aren't confirmed yet; the license follows by itself; {following}"
    if invoice.last_checked_at is None and invoice.last_said is None:  # a check triggered by a webhook is no claim
        return f"it was not checked yet; {following}, if worker and beat run"
    state = (
        "it expired unpaid" if invoice.status == InvoiceStatus.EXPIRED else f"no payment was seen ({invoice.status})"
    )
    return f"{state}; {following}"
