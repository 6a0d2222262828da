"""Create a tip: its row is written with the license, before any payment."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from keysat.core.money import BASIS_POINTS, MSAT
from keysat.models import Invoice, Policy, Tip
from keysat.models.audit import audit
from keysat.tips.authorize import earned_by


def create_tip(session: Session, invoice: Invoice, policy: Policy, license_id: UUID, actor: str) -> None:
    """Write the tip that a policy defines for a purchased or renewed license, unless it rounds down to zero.

    It is a share of the price or the payment, whichever is smaller: an overpayment doesn't raise it, and a free license
    has none. A price in another currency than BTC has no amount in sats, so the tip is skipped, with an audit entry.
    """
    if policy.tip_recipient is None or policy.tip_pct_bps is None or invoice.provider_account_id is None:
        return
    if invoice.currency != "BTC":
        audit(session, actor, "tip.skipped", license_id, reason=f"the price is in {invoice.currency}, not in sats")
        return
    sats = earned_by(session, invoice) * policy.tip_pct_bps // BASIS_POINTS
    if sats == 0:
        return
    tip = {
        "id": uuid7(),
        "license_id": license_id,
        "invoice_id": invoice.id,
        "provider_account_id": invoice.provider_account_id,
        "recipient": policy.tip_recipient,
        "label": policy.tip_label,
        "amount_msat": sats * MSAT,
        "epoch": invoice.epoch,
        "next_attempt_at": func.now(),
    }
    session.execute(insert(Tip).values(tip).on_conflict_do_nothing())
