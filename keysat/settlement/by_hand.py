"""What a person does about an invoice, and the license that follows from it at once.

The decision is committed before the license is issued. If the signing key is missing, the decision stays, and the scan
issues the license once the key is back.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from keysat.core.db import Database
from keysat.settlement.issue import issue
from keysat.settlement.outcome import SettlementRules
from keysat.settlement.reconcile import Result, reconcile
from keysat.settlement.resolve import settle_by_hand
from keysat.settlement.reverse import undo

SignerId = Callable[[], str]


def reconcile_and_issue(
    database: Database, invoice_id: UUID, rules: SettlementRules, signer_id: SignerId, actor: str
) -> tuple[Result, UUID | None]:
    """Check an invoice now, even if its account rests. Return the result, and the id of the license if it was issued.

    Raises as `reconcile` and `issue`.
    """
    result = reconcile(database, invoice_id, rules, actor, force=True)
    return result, _issue(database, invoice_id, signer_id, actor) if result.license_due else None


def settle_and_issue(database: Database, invoice_id: UUID, note: str, signer_id: SignerId, actor: str) -> UUID | None:
    """Settle an invoice, regardless of the provider. Return the id of the license, or None if it was issued before.

    Raises as `settle_by_hand` and `issue`.
    """
    with database.transaction() as session:
        settle_by_hand(session, invoice_id, note, actor)
    return _issue(database, invoice_id, signer_id, actor)


def restore_and_issue(database: Database, invoice_id: UUID, note: str, signer_id: SignerId, actor: str) -> UUID | None:
    """Undo a reversal. Return the id of the license, or None if it was issued before and has its status back.

    Raises as `undo` and `issue`.
    """
    with database.transaction() as session:
        undo(session, invoice_id, note, actor)
    return _issue(database, invoice_id, signer_id, actor)


def _issue(database: Database, invoice_id: UUID, signer_id: SignerId, actor: str) -> UUID | None:
    signer = signer_id()
    with database.transaction() as session:
        return issue(session, invoice_id, signer, actor)
