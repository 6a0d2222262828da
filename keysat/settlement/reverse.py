"""Reverse a settled invoice whose payment went back, which withdraws its license, and undo a reversal."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from keysat.codes.reserve import cancel
from keysat.core.errors import Conflict, require
from keysat.core.hints import Hint
from keysat.licenses.withdraw import restore_of_invoice, withdraw_of_invoice
from keysat.mail.owe import owe_license_status, owe_reversed
from keysat.models import Invoice
from keysat.models.audit import audit
from keysat.models.invoice_status import InvoiceStatus
from keysat.models.license import LicenseStatus
from keysat.settlement.resolve import require_note, settle_by_hand
from keysat.settlement.rest import lock_rests, review_rests, take_back

_TARGETS = {"suspend": LicenseStatus.SUSPENDED, "revoke": LicenseStatus.REVOKED}


def reverse(session: Session, invoice_id: UUID, how: str, why: str, actor: str) -> bool:
    """Mark a settled invoice as reversed and suspend or revoke its license.

    Return False if it was reversed before. A license that was not issued yet is never issued. The update locks the
    invoice row first, as `issue` does, so no license can be issued in between. If the invoice is the rest of another
    one, that one is reversed, too. Rests of its own go to review.
    """
    rests = lock_rests(session, invoice_id)
    reversed_now = session.scalar(
        update(Invoice)
        .where(Invoice.id == invoice_id, Invoice.status == InvoiceStatus.SETTLED, ~Invoice.reversed)
        .values(reversed_at=func.now(), next_check_at=None, last_error=None, error_count=0)
        .returning(Invoice)
        .execution_options(populate_existing=True)
    )
    if reversed_now is None:
        return False
    completed_id = take_back(session, reversed_now)
    if completed_id is not None:
        reverse(session, completed_id, how, f"the payment of its rest {invoice_id} went back", actor)
    review_rests(session, rests, actor)
    cancel(session, invoice_id, actor)  # has no effect if the license was issued and the code redeemed
    was = withdraw_of_invoice(session, invoice_id, _TARGETS[how], actor, why)
    if was is not None:
        session.execute(
            update(Invoice).where(Invoice.id == invoice_id).values(license_was=was, license_became=_TARGETS[how])
        )
    if completed_id is None:
        owe_reversed(session, invoice_id)
    if was is not None:
        owe_license_status(session, invoice_id, only_new_holder=True)
    audit(session, actor, "invoice.reversed", invoice_id, why=why, license_was=was and str(was))
    return True


def undo(session: Session, invoice_id: UUID, note: str, actor: str) -> None:
    """Undo a reversal by hand. The license gets its status back, and the provider can't reverse it again.

    If no license had been issued yet, it is issued now. A license that a person withdrew since is unchanged.

    Raises:
        InvalidInput: the note is empty.
        NotFound: no such invoice.
        Conflict: it wasn't reversed.
    """
    require_note(note)
    found = session.execute(
        select(
            *(Invoice.reversed_at, Invoice.fulfilled_at, Invoice.license_was, Invoice.license_became),
            Invoice.rest_of_id,
        )
        .where(Invoice.id == invoice_id)
        .with_for_update()
    ).one_or_none()
    row = require(found, "invoice", invoice_id, Hint.LIST_INVOICES)
    if row.reversed_at is None:
        raise Conflict(f"invoice {invoice_id} was not reversed.", Hint.UNSUSPEND_LICENSE)
    if row.rest_of_id is not None:  # it is credited again, and the invoice that it completes is restored by itself
        session.execute(update(Invoice).where(Invoice.id == invoice_id).values(fulfilled_at=None))
    if row.fulfilled_at is None or row.rest_of_id is not None:
        settle_by_hand(session, invoice_id, note, actor)
        return
    session.execute(
        update(Invoice)
        .where(Invoice.id == invoice_id)
        .values(
            reversed_at=None,
            license_was=None,
            license_became=None,
            settled_by_hand=True,
            reviewed=[],
            review_resolved_at=case((Invoice.in_review, func.now()), else_=Invoice.review_resolved_at),
        )
    )
    if row.license_was is not None:
        became = row.license_became or LicenseStatus.SUSPENDED
        if restore_of_invoice(session, invoice_id, became, row.license_was, actor, note):
            owe_license_status(session, invoice_id)
    audit(session, actor, "invoice.restored", invoice_id, note=note)
