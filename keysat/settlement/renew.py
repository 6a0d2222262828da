"""Renew a license with a settled invoice, once, and take the period back if its payment goes back."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Session

from keysat.mail.owe import owe_renewed
from keysat.models import Invoice, Policy
from keysat.models.invoice_status import ReviewReason
from keysat.settlement.review import open_review
from keysat.subscriptions.extend import extend, locked_license, renewable
from keysat.tips.create import create_tip


def fulfill_renewal(session: Session, renewal: Invoice, policy: Policy, now: datetime, actor: str) -> UUID | None:
    """Extend the license of a settled renewal, whose row is locked. Return its id, or None if it was done before.

    If the license was revoked meanwhile, or never ends, a person decides about the money.
    """
    if renewal.fulfilled:
        return None
    assert renewal.target_license_id is not None
    row = locked_license(session, renewal.target_license_id)
    if not renewable(row):
        open_review(session, renewal.id, ReviewReason.EXCESS, actor)
        return None
    extended = extend(session, renewal, row, now, actor)
    renewal.fulfilled_at, renewal.next_check_at = func.now(), None
    session.flush()
    if not extended:
        return None
    owe_renewed(session, renewal.id)
    create_tip(session, renewal, policy, row.id, actor)
    return row.id
