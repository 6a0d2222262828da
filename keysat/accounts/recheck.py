"""Handle rejected credentials: pause an account only if its credentials fail a check, and resume it once they pass."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from keysat.accounts import manage
from keysat.core.errors import CredentialsRejected, KeysatError
from keysat.models import ProviderAccount
from keysat.models.audit import audit
from keysat.models.columns import seconds
from keysat.providers.base import Provider
from keysat.queue.claim import Claim, claim, release

_FIRST_WAIT, _MAX_WAIT = 60, 3_600


def rejection(provider: Provider, error: KeysatError) -> CredentialsRejected | None:
    """Check the credentials after the provider rejected one call with them. Return None unless they are rejected again.

    One 401 or 403 may concern a single invoice, or come from one of several servers. This calls the provider, so no
    transaction may be open.
    """
    if not isinstance(error, CredentialsRejected):
        return None
    try:
        provider.check_credentials()
    except CredentialsRejected as rejected:
        return rejected
    except KeysatError:
        return None  # the check is inconclusive, so they aren't rejected
    return None


def pause_rejected(session: Session, account_id: UUID, sealed_credentials: bytes, reason: str, actor: str) -> None:
    """Pause an account whose credentials failed the check, unless they were renewed since, and schedule a recheck."""
    same = select(ProviderAccount.id).where(
        ProviderAccount.id == account_id, ProviderAccount.sealed_credentials == sealed_credentials
    )
    if session.scalar(same.with_for_update()) is None or not manage.pause(session, account_id, reason, actor):
        return
    first = func.now() + timedelta(seconds=_FIRST_WAIT)
    session.execute(
        update(ProviderAccount).where(ProviderAccount.id == account_id).values(recheck_at=first, recheck_count=0)
    )


def claim_rechecks(session: Session, limit: int) -> list[Claim]:
    """Take accounts whose rejected credentials are due for a check: each 1 min, doubling up to an hour."""
    wait = func.least(_MAX_WAIT, _FIRST_WAIT * func.power(2, func.least(ProviderAccount.recheck_count, 10)))
    return claim(
        session,
        ProviderAccount.recheck_at,
        limit,
        func.now() + seconds(wait),
        max_wait=timedelta(seconds=_MAX_WAIT),
        values={ProviderAccount.recheck_count: ProviderAccount.recheck_count + 1},
    )


def release_rechecks(session: Session, account_ids: list[UUID]) -> None:
    """Make claimed accounts due at once again."""
    release(session, ProviderAccount.recheck_at, account_ids)


def resume_accepted(session: Session, account_id: UUID, sealed_credentials: bytes) -> bool:
    """Resume an account whose credentials pass again. Return False if a person paused it or renewed them."""
    account = session.scalar(
        select(ProviderAccount)
        .where(
            ProviderAccount.id == account_id,
            ProviderAccount.sealed_credentials == sealed_credentials,
            ProviderAccount.rejected,
        )
        .with_for_update()
    )
    if account is None:
        return False
    audit(session, "recheck", "provider.credentials_accepted", account_id)
    manage.resume(session, account.name, "recheck")
    return True
