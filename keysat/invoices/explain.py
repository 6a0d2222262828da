"""Why a buyer has no license, in one sentence."""

from __future__ import annotations

from datetime import UTC, datetime

from keysat.models import Invoice, License, ProviderAccount
from keysat.models.invoice import InvoiceStatus


def explain(invoice: Invoice, account: ProviderAccount | None, owned: License | None) -> str:
    """Say what has become of an invoice, and what has to happen next."""
    if invoice.reversed_at is not None:
        became = "before a license was issued" if owned is None else f"and the license is {owned.status}"
        return f"the payment went back {became}; `keysat invoice restore` undoes that"
    if owned is not None:
        return f"the license was issued and is {owned.status}"
    if invoice.in_review:
        return f"it waits for your decision ({invoice.review_reason}): `keysat invoice settle` or `dismiss`"
    if invoice.status == InvoiceStatus.SETTLED:
        return "it is paid and the license is owed; the next scan issues it, if worker and beat run"
    if invoice.is_draft and invoice.status != InvoiceStatus.PENDING:
        return "the provider made no invoice for it, so nobody could pay it"
    if account is not None and account.paused_at is not None:
        return f"account {account.name} is paused ({account.pause_reason}); nobody asks the provider"
    if account is not None and account.open_until is not None and account.open_until > datetime.now(UTC):
        until = f"{account.open_until:%H:%M:%S} UTC"
        return f"account {account.name} is left alone until {until} after failures ({account.last_error})"
    if invoice.last_error is not None:
        return f"the last look brought no usable answer: {invoice.last_error}"
    never_looked = invoice.last_checked_at is None and invoice.last_said is None  # a webhook's look is no claim
    if never_looked and invoice.next_check_at is not None:
        due = f"{invoice.next_check_at:%H:%M:%S} UTC"
        return f"nobody has looked yet; the first look is due at {due}, if worker and beat run"
    watched = "it is still watched" if invoice.next_check_at is not None else "it is no longer watched"
    return f"the provider has not confirmed a payment ({invoice.status}); {watched}"
