"""What a failed read means for the account: its breaker counts what keeps all of its invoices from being read."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from sqlalchemy.orm import Session

from keysat.accounts import breaker, recheck
from keysat.core.errors import CredentialsRejected, KeysatError, RemoteError, RemoteUnavailable


class Called(Protocol):
    """Which account was called, and with which credentials."""

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
    """Count a failed read; `rejected` is what the check of the credentials themselves came to.

    An answer that is unusable, or about one invoice alone, counts against that invoice: the provider is alive.
    """
    if rejected is not None:
        recheck.pause_rejected(session, called.account_id, called.sealed_credentials, str(rejected).rstrip("."), actor)
    elif isinstance(error, RemoteUnavailable):
        breaker.record_failure(session, called.account_id, str(error), error.retry_after, invoice_id)
    elif not isinstance(error, RemoteError):  # nobody could be asked, as without the key to the credentials
        breaker.record_failure(session, called.account_id, str(error), None, invoice_id)
    else:
        breaker.record_success(session, called.account_id)
