"""Find, adopt, claim and reschedule our rows that match a page of the provider's list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.orm import Session

from keysat.core.errors import InvalidInput, RemoteResponseInvalid
from keysat.invoices import draft
from keysat.invoices.schedule import next_check
from keysat.models import Invoice
from keysat.models.invoice_status import InvoiceStatus
from keysat.providers.base import FoundInvoice, InvoiceSnapshot
from keysat.queue.claim import Claim
from keysat.settlement.adopt import orphan
from keysat.settlement.check import state_of
from keysat.settlement.decision import decide
from keysat.settlement.outcome import Action, SettlementRules

MESSAGE = timedelta(seconds=30)


def ours_of(session: Session, account_id: UUID, found: Sequence[FoundInvoice]) -> list[Invoice]:
    """Return our rows that match a page, by the provider's invoice id or by our id as its order id."""
    theirs = [invoice.snapshot.provider_invoice_id for invoice in found]
    orders = [UUID(str(invoice.snapshot.order_id)) for invoice in found if names_a_row(invoice)]
    return list(
        session.scalars(
            select(Invoice).where(
                Invoice.provider_account_id == account_id,
                or_(Invoice.provider_invoice_id.in_(theirs), Invoice.id.in_(orders)),
            )
        )
    )


def ids_of_other_accounts(session: Session, account_id: UUID, found: Sequence[FoundInvoice]) -> set[str]:
    """Return the ids of our rows that match a page but belong to another account of ours, as for the same store."""
    orders = [UUID(str(invoice.snapshot.order_id)) for invoice in found if names_a_row(invoice)]
    others = select(Invoice.id).where(Invoice.id.in_(orders), Invoice.provider_account_id.is_distinct_from(account_id))
    return {str(invoice_id) for invoice_id in session.scalars(others)}


def adopt_drafts(
    session: Session, account_id: UUID, ours: Sequence[Invoice], found: Sequence[FoundInvoice]
) -> tuple[list[UUID], list[dict[str, Any]]]:
    """Adopt provider invoices for our rows without a provider invoice id. Return the adopted ids and the conflicts."""
    adopted, conflicts = [], []
    for row in ours:
        if not row.is_draft:
            continue
        invoice = draft.best([invoice for invoice in found if invoice.snapshot.order_id == str(row.id)])
        if invoice is None:
            continue
        try:
            draft.adopt(session, row.id, account_id, invoice.created)
            adopted.append(row.id)
        except RemoteResponseInvalid as error:
            conflicts.append(orphan(invoice, str(error)))
    return adopted, conflicts


def partition(
    ours: Sequence[Invoice], found: Sequence[FoundInvoice], rules: SettlementRules
) -> tuple[list[UUID], list[UUID]]:
    """Split rows into those that the listed snapshots would change and those that they wouldn't."""
    snapshots = {invoice.snapshot.provider_invoice_id: invoice.snapshot for invoice in found}
    changed: list[UUID] = []
    same: list[UUID] = []
    for row in ours:
        snapshot = snapshots.get(row.provider_invoice_id or "")
        if snapshot is None:
            continue
        (changed if _is_news(row, snapshot, rules) else same).append(row.id)
    return changed, same


def _is_news(row: Invoice, snapshot: InvoiceSnapshot, rules: SettlementRules) -> bool:
    try:
        known = state_of(row)
    except InvalidInput:
        return True  # another version wrote the row; a check of its own records why this one can't decide
    outcome = decide(known, snapshot, rules)
    return outcome.action is not Action.KEEP or outcome.alarm != row.last_error


def claim_at_once(session: Session, invoice_ids: list[UUID]) -> list[Claim]:
    """Claim these invoices, because messages for them are sent now.

    The `next_check_at` of a settled invoice is for its license only, so it is unchanged.
    """
    soon = func.greatest(func.now() + MESSAGE, Invoice.next_check_at)
    claimed = session.scalars(
        update(Invoice)
        .where(Invoice.id.in_(invoice_ids))
        .values(
            next_check_at=case((Invoice.status == InvoiceStatus.SETTLED, Invoice.next_check_at), else_=soon),
            check_count=Invoice.check_count + 1,
        )
        .returning(Invoice.id)
    )
    return [Claim(invoice_id, MESSAGE.total_seconds()) for invoice_id in claimed]


def reschedule(session: Session, invoice_ids: list[UUID]) -> None:
    """Record a check for those invoices whose check is due, because the provider reported nothing new."""
    session.execute(
        update(Invoice)
        .where(Invoice.id.in_(invoice_ids), Invoice.status != InvoiceStatus.SETTLED)
        .where(Invoice.next_check_at <= func.now())
        .values(
            next_check_at=next_check(Invoice.status, Invoice.created_at),
            check_count=Invoice.check_count + 1,
            last_checked_at=func.now(),
        )
    )


def is_paid(invoice: FoundInvoice) -> bool:
    """Whether the provider reports a payment for it."""
    return invoice.snapshot.paid is not None and invoice.snapshot.paid.amount > 0


def names_a_row(invoice: FoundInvoice) -> bool:
    """Whether its order id has the form of our ids."""
    return is_id(invoice.snapshot.order_id)


def is_id(order_id: str | None) -> bool:
    """Whether a text has the form of our ids."""
    try:
        UUID(order_id or "")
    except ValueError:
        return False
    return True
