"""Record a failed read for its account. The circuit breaker counts failures that affect all of its invoices."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from sqlalchemy.orm import Session

from keysat.accounts import breaker, recheck
from keysat.core.errors import CredentialsRejected, KeysatError, RemoteError, RemoteUnavailable


class Called(Protocol):
    """The account that was called, and the credentials used."""

    @property
    def account_id(self) -> UUID: ...
    @property
    def sealed_credentials(self) -> bytes: ...


def note_failure(
    session: Session,
    called: Called,
    error: KeysatError,
    actor: str,
    *,
    rejected: CredentialsRejected | None,
    invoice_id: UUID | None = None,
) -> None:
    """Record a failed read. `rejected` is the result of the check of the credentials, None unless they were rejected.

    A response that is unusable, or about one invoice only, is no failure of the account: the provider is up.
    """
    if rejected is not None:
        recheck.pause_rejected(session, called.account_id, called.sealed_credentials, str(rejected).rstrip("."), actor)
    elif isinstance(error, RemoteUnavailable):
        breaker.record_failure(session, called.account_id, str(error), error.retry_after, invoice_id)
    elif not isinstance(error, RemoteError):  # no call was possible, e.g. without the credentials' key
        breaker.record_failure(session, called.account_id, str(error), None, invoice_id)
    else:
        breaker.record_success(session, called.account_id)
