"""The errors Keysat raises on purpose: one class per refusal, which builds its own message.

The message names what is wrong. What to do about it is a hint, which each entry point puts into its own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID

from keysat.core.hints import Hint

_Row = TypeVar("_Row")


class KeysatError(Exception):
    """Base class: something was refused or failed. Command line exit code 1.

    `hint` names the next step, and `facts` are what the hint needs, such as the account's name.
    """

    def __init__(self, sentence: str, hint: Hint | None = None, **facts: object) -> None:
        super().__init__(sentence)
        self.hint = hint
        self.facts: Mapping[str, object] = facts


class SettingsError(KeysatError):
    """A setting is missing or malformed. The message names the variable and the remedy."""


class DatabaseUnavailable(KeysatError):
    """PostgreSQL can't be reached or refuses the credentials."""

    def __init__(self, where: str, cause: str) -> None:
        super().__init__(f"PostgreSQL at {where} can't be reached ({cause}).", Hint.START_DATABASE)


class DatabaseBusy(KeysatError):
    """A transaction was rolled back because of others: a deadlock, or a lock or statement timeout. Try again."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"PostgreSQL gave up a transaction because of others ({cause}); nothing was changed, try again."
        )


class SchemaOutdated(KeysatError):
    """The database schema isn't the one this version needs."""

    def __init__(self, found: str | None, wanted: str) -> None:
        super().__init__(
            f"the database schema is at {found or 'nothing'}, but this version needs {wanted}.", Hint.UPGRADE_SCHEMA
        )


class SchemaUnknown(KeysatError):
    """The database schema is from a version unknown to this one, for example after restoring a newer dump."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(
            f"the database schema is at {found}, which this version doesn't know (it needs {wanted}); install "
            "the version that made it, or a newer one."
        )


class SchemaBroken(KeysatError):
    """The tables don't match the revision the database claims, for example after a restore over other tables."""

    def __init__(self, database: str, cause: str) -> None:
        super().__init__(
            f"the schema of {database} can't be upgraded, and nothing was changed; if you restored a dump, restore it "
            f"into an empty database, as the section Backups of README explains. The cause: {cause}"
        )


class SchemaMissing(KeysatError):
    """A statement used a table or column that doesn't exist."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"the database lacks a part of the schema ({cause}).", Hint.UPGRADE_SCHEMA)


class BrokerUnavailable(KeysatError):
    """The Redis or Valkey broker can't be reached."""

    def __init__(self, where: str, cause: str) -> None:
        super().__init__(
            f"the broker at {where} can't be reached ({cause}). Nothing is lost: pending work stays in PostgreSQL and "
            "the next scans send it again.",
            Hint.START_BROKER,
        )


class NotFound(KeysatError):
    """No row of that kind has that id or name."""

    def __init__(self, noun: str, wanted: object, hint: Hint | None = None, **facts: object) -> None:
        super().__init__(f"no {noun} {wanted}.", hint, **facts)


def require(row: _Row | None, noun: str, wanted: object, hint: Hint | None = None, **facts: object) -> _Row:
    """Return the row. Raise NotFound, with the other arguments, if there is none."""
    if row is None:
        raise NotFound(noun, wanted, hint, **facts)
    return row


class Conflict(KeysatError):
    """The change would contradict what is stored. The message explains how."""


class InvalidInput(KeysatError):
    """A value that a person entered has the wrong form."""


class NotPaid(KeysatError):
    """A license was requested for an invoice that no provider confirmed as paid."""

    def __init__(self, invoice_id: UUID, status: str) -> None:
        self.invoice_id, self.status = invoice_id, status
        super().__init__(
            f"invoice {invoice_id} is {status}, not settled, so no license is issued.",
            Hint.RECONCILE_INVOICE,
            invoice_id=invoice_id,
        )


class Unauthorized(KeysatError):
    """The caller isn't authenticated."""


class Forbidden(KeysatError):
    """The caller is authenticated but not allowed to do this."""


class RateLimited(KeysatError):
    """Too many requests. `retry_after` is in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"too many requests; try again in {retry_after} s.")


class SalesUnavailable(KeysatError):
    """No selling account can take a payment now. Nothing was charged. `retry_after` is in whole seconds."""

    def __init__(self, why: str, retry_after: int = 30, hint: Hint | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(f"no payment can be taken right now, and nothing was charged: {why}", hint)


class TooBusy(KeysatError):
    """Too many requests of this kind are in progress. `retry_after` is in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"too many requests wait for the payment provider; try again in {retry_after} s.")


class CallFailed(KeysatError):
    """A call to another server failed, or couldn't be made."""


class AccountUnusable(CallFailed):
    """A stored provider account can't be called, for example because its credentials can't be decrypted."""


class RemoteError(CallFailed):
    """A call failed because of another server's response, or the lack of one."""


class RemoteUnavailable(RemoteError):
    """A timeout, a cut connection, 408, 429 or 5xx: the same call may succeed later.

    `retry_after` is the delay that the server requested, in seconds, or None.
    """

    def __init__(self, message: str, retry_after: float | None = None, hint: Hint | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message, hint)


class NotTheProvider(RemoteUnavailable):
    """A response that isn't the server's own: it is from a firewall, a portal or a maintenance page.

    It contains no information about the requested object. `status` is its HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


class RemoteResponseInvalid(RemoteError):
    """A response has the wrong shape, is too large, or is about something other than the request."""


class ResponseTooLarge(RemoteResponseInvalid):
    """A response exceeds the byte limit. A request for less may get a smaller response."""


class RemoteNotFound(RemoteError):
    """The server reports that the requested object doesn't exist (404)."""


class RemoteRefused(RemoteError):
    """The server understood and refused the call (any other 4xx). The same call would be refused again.

    `code` is the refusal's name in the response's JSON, if it has one.
    """

    def __init__(self, message: str, code: str | None = None) -> None:
        self.code = code
        super().__init__(message)


class CredentialsRejected(RemoteError):
    """The server rejected our credentials (401, 403)."""


class PermissionMissing(CredentialsRejected):
    """The server accepts our credentials, but they don't allow this call (403)."""
