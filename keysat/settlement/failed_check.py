"""A check without a usable response: the account was not called, or the call failed. The invoice stays as it is."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from keysat.core.errors import KeysatError
from keysat.core.hints import Hint
from keysat.models import Invoice, ProviderAccount
from keysat.models.columns import seconds
from keysat.models.invoice_status import InvoiceStatus
from keysat.settlement.check import record_reading

_ERROR_BACKOFF_SECONDS = 30
_MAX_DOUBLINGS = 9


class AccountNotCallable(KeysatError):
    """The provider account is paused or its circuit breaker is open. The provider was not called."""

    def __init__(self, account: str, why: str, *, paused: bool = False) -> None:
        hint = Hint.RESUME_ACCOUNT if paused else None
        super().__init__(f"provider account {account} {why}; the invoice waits.", hint, account=account)


def give_up(session: Session, invoice_id: UUID, error: KeysatError) -> None:
    """Record the error after failed attempts and schedule the next check, with exponential backoff.

    The regular schedule of an old invoice may be hours. A short provider outage must not delay a buyer that long. If
    the account can't be called now, the next check is when it can.
    """
    callable_at = (
        select(func.greatest(ProviderAccount.open_until, func.now()))
        .where(ProviderAccount.id == Invoice.provider_account_id)
        .scalar_subquery()
    )
    asked = not isinstance(error, AccountNotCallable)
    if asked:
        record_reading(session, invoice_id, "reconcile", str(error), "none")
    doublings = func.power(2, func.least(Invoice.error_count, _MAX_DOUBLINGS))
    # LEAST and GREATEST ignore NULL.
    soon = func.least(Invoice.next_check_at, func.now() + seconds(_ERROR_BACKOFF_SECONDS * doublings))
    session.execute(
        update(Invoice)
        .where(Invoice.id == invoice_id, Invoice.status != InvoiceStatus.SETTLED)
        .values(
            last_error=str(error),
            error_count=Invoice.error_count + (1 if asked else 0),
            next_check_at=func.greatest(callable_at, soon) if asked else callable_at,
        )
    )
