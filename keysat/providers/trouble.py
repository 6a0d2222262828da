"""What a failed call means for the account: its breaker counts it; a rejected key pauses it."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from keysat.errors import CredentialsRejected, KeysatError, RemoteNotFound, RemoteUnavailable
from keysat.providers import accounts, breaker


def note_failure(session: Session, account_id: UUID, sealed_credentials: bytes, error: KeysatError) -> None:
    """Tell the account of a failed call; the credentials are those that the call was made with.

    A provider that doesn't know one invoice is alive, so that counts as a success.
    """
    if isinstance(error, CredentialsRejected):
        accounts.pause_rejected(session, account_id, sealed_credentials, str(error).rstrip("."))
    elif isinstance(error, RemoteNotFound):
        breaker.record_success(session, account_id)
    else:
        retry_after = error.retry_after if isinstance(error, RemoteUnavailable) else None
        breaker.record_failure(session, account_id, str(error), retry_after)
