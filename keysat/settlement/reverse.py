"""Reverse a settled invoice whose payment went back, which withdraws its license, and undo a reversal."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import and_, case, func, select, update
from sqlalchemy.orm import Session

from keysat.codes.reserve import cancel
from keysat.core.errors import Conflict, require
from keysat.core.hints import Hint
from keysat.licenses.withdraw import restore_of_invoice, withdraw_of_invoice
from keysat.mail.owe import owe_license_status, owe_reversed
from keysat.models import Invoice, License
from keysat.models.audit import audit
from keysat.models.invoice_status import InvoiceStatus, ReviewReason
from keysat.models.license import LicenseStatus
from keysat.settlement.resolve import require_note, settle_by_hand
from keysat.settlement.rest import credit_again, lock_family, release_rests, take_back
from keysat.subscriptions.extend import extend_again, shorten

_TARGETS = {"suspend": LicenseStatus.SUSPENDED, "revoke": LicenseStatus.REVOKED}


def reverse(session: Session, invoice_id: UUID, how: str, why: str, actor: str) -> bool:
    """Mark a settled invoice as reversed and suspend or revoke its license. A renewal's period is taken back instead.

    Return False if it was reversed before. A license that was not issued yet is never issued. The locks come first, as
    in `issue`, so no license can be issued in between. The rests that were credited to it go to review. If it is such a
    rest itself, the invoice that it was credited to is reversed, too, unless a person settled that one.
    """
    lock_family(session, invoice_id)
    # What a person had to decide about money beyond the price went back by itself.
    excess = and_(Invoice.in_review, Invoice.review_reason == ReviewReason.EXCESS)
    reversed_now = session.scalar(
        update(Invoice)
        .where(Invoice.id == invoice_id, Invoice.status == InvoiceStatus.SETTLED, ~Invoice.reversed)
        .values(
            reversed_at=func.now(),
            review_resolved_at=case((excess, func.now()), else_=Invoice.review_resolved_at),
            next_check_at=None,
            last_error=None,
            error_count=0,
        )
        .returning(Invoice.id)
    )
    if reversed_now is None:
        return False
    cancel(session, invoice_id, actor)  # has no effect if the license was issued and the code redeemed
    shorten(session, invoice_id, why, actor)  # has no effect on a purchase
    _withdraw(session, invoice_id, how, why, actor)
    release_rests(session, invoice_id, actor)
    completed = take_back(session, invoice_id)
    if completed is None:
        owe_reversed(session, invoice_id)
    elif not completed.settled_by_hand:
        reverse(session, completed.id, how, f"the payment of its rest {invoice_id} went back", actor)
    return True


def _withdraw(session: Session, invoice_id: UUID, how: str, why: str, actor: str) -> None:
    """Withdraw the license of a reversed invoice, if it was issued, and note its status for `undo`."""
    was = withdraw_of_invoice(session, invoice_id, _TARGETS[how], actor, why)
    if was is not None:
        session.execute(
            update(Invoice).where(Invoice.id == invoice_id).values(license_was=was, license_became=_TARGETS[how])
        )
        _tell_holder(session, invoice_id, only_new_holder=True)
    audit(session, actor, "invoice.reversed", invoice_id, why=why, license_was=was and str(was))


def _tell_holder(session: Session, invoice_id: UUID, *, only_new_holder: bool = False) -> None:
    license_id = session.scalars(select(License.id).where(License.invoice_id == invoice_id)).one()
    owe_license_status(session, license_id, only_new_holder=only_new_holder)


def undo(session: Session, invoice_id: UUID, note: str, actor: str) -> None:
    """Undo a reversal by hand. The license gets its status back, and the provider can't reverse it again.

    If no license had been issued yet, it is issued now. A license that a person withdrew since is unchanged. The rests
    that the reversal released count again, and a renewal's period is added again.

    Raises:
        InvalidInput: the note is empty.
        NotFound: no such invoice.
        Conflict: it wasn't reversed.
    """
    require_note(note)
    lock_family(session, invoice_id)
    columns = (Invoice.reversed_at, Invoice.fulfilled_at, Invoice.license_was, Invoice.license_became)
    found = session.execute(select(*columns).where(Invoice.id == invoice_id)).one_or_none()
    row = require(found, "invoice", invoice_id, Hint.LIST_INVOICES)
    if row.reversed_at is None:
        raise Conflict(f"invoice {invoice_id} was not reversed.", Hint.UNSUSPEND_LICENSE)
    if row.fulfilled_at is None:
        settle_by_hand(session, invoice_id, note, actor)
    else:
        _restore(session, invoice_id, note, actor)
        extend_again(session, invoice_id, note, actor)
        if row.license_was is not None:
            became = row.license_became or LicenseStatus.SUSPENDED
            if restore_of_invoice(session, invoice_id, became, row.license_was, actor, note):
                _tell_holder(session, invoice_id)
    credit_again(session, invoice_id, actor)


def _restore(session: Session, invoice_id: UUID, note: str, actor: str) -> None:
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
    audit(session, actor, "invoice.restored", invoice_id, note=note)
