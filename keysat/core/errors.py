"""The errors Keysat raises on purpose: one class for each refusal, building its own sentence.

An entry point shows `str(error)` to a person and nothing else: what is wrong, and what to do about it.
"""

from __future__ import annotations

from uuid import UUID


class KeysatError(Exception):
    """The root: something was refused or failed, and the message says what to do. Command line exit code 1."""


class SettingsError(KeysatError):
    """A setting is missing or malformed; the sentence names the variable and the remedy."""


class DatabaseUnavailable(KeysatError):
    """PostgreSQL can't be reached or refuses the credentials."""

    def __init__(self, where: str, cause: str) -> None:
        super().__init__(
            f"PostgreSQL at {where} can't be reached ({cause}); check DATABASE_URL and that the server runs, "
            "or start the embedded servers with `keysat up`."
        )


class DatabaseBusy(KeysatError):
    """A transaction was rolled back because of others: a deadlock, a lock or statement timeout. Try again."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"PostgreSQL gave up a transaction because of others ({cause}); nothing was changed, try again."
        )


class SchemaOutdated(KeysatError):
    """The database's schema is not the one this version was written for."""

    def __init__(self, found: str | None, wanted: str) -> None:
        super().__init__(
            f"the database schema is at {found or 'nothing'}, but this version needs {wanted}; run `keysat db upgrade`."
        )


class SchemaUnknown(KeysatError):
    """The database's schema is of a version that this one doesn't know, as after the restore of a newer dump."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(
            f"the database schema is at {found}, which this version doesn't know (it needs {wanted}); install "
            "the version that made it, or a newer one."
        )


class SchemaBroken(KeysatError):
    """The tables aren't those of the revision that the database claims to be at, as after a restore over others."""

    def __init__(self, database: str, cause: str) -> None:
        super().__init__(
            f"the schema of {database} can't be upgraded, and nothing was changed; if you restored a dump, restore it "
            f"into an empty database, as README's Backups tells. The cause: {cause}"
        )


class SchemaMissing(KeysatError):
    """A statement met a table or column that isn't there."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"the database lacks a part of the schema ({cause}); run `keysat db upgrade`.")


class BrokerUnavailable(KeysatError):
    """The Redis or Valkey broker can't be reached."""

    def __init__(self, where: str, cause: str) -> None:
        super().__init__(
            f"the broker at {where} can't be reached ({cause}); check BROKER_URL and that the server runs. "
            "Nothing is lost: what is owed stays in PostgreSQL and the next scans send it again."
        )


class NotFound(KeysatError):
    """No row of that kind has that id or name."""

    def __init__(self, noun: str, wanted: object, hint: str = "") -> None:
        self.noun, self.wanted = noun, wanted
        super().__init__(f"no {noun} {wanted}{f'; {hint}' if hint else '.'}")


class Conflict(KeysatError):
    """The change would contradict what is stored; the sentence says how."""


class InvalidInput(KeysatError):
    """A value given by a person is not of the form that is needed."""


class NotPaid(KeysatError):
    """A license was asked for an invoice that no provider confirmed as paid."""

    def __init__(self, invoice_id: UUID, status: str) -> None:
        self.invoice_id, self.status = invoice_id, status
        super().__init__(
            f"invoice {invoice_id} is {status}, not settled, so no license is issued; "
            f"`keysat invoice reconcile {invoice_id}` asks the provider again."
        )


class Unauthorized(KeysatError):
    """The caller isn't known."""


class Forbidden(KeysatError):
    """The caller is known and may not do that."""


class RateLimited(KeysatError):
    """Too many requests; `retry_after` is in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"too many requests; try again in {retry_after} s.")


class SalesUnavailable(KeysatError):
    """No account that sells can take a payment now; nothing was charged. `retry_after` is in whole seconds."""

    def __init__(self, why: str, retry_after: int = 30) -> None:
        self.retry_after = retry_after
        super().__init__(f"no payment can be taken right now, and nothing was charged: {why}")


class TooBusy(KeysatError):
    """All places for requests of this kind are taken; `retry_after` is in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"too many requests wait for the payment provider; try again in {retry_after} s.")


class RemoteError(KeysatError):
    """Another server's answer, or its lack, kept a call from succeeding."""


class RemoteUnavailable(RemoteError):
    """A timeout, a cut connection, 408, 429 or 5xx: the same call may succeed later.

    `retry_after` is the server's own wish in seconds, or None when it gave none.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class NotTheProvider(RemoteUnavailable):
    """An answer that isn't the server's own: a firewall, a portal or a maintenance page stands before it.

    It says nothing of what was asked for. `status` is its HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


class RemoteAnswerInvalid(RemoteError):
    """An answer of the wrong shape, too large, or about something else than was asked."""


class AnswerTooLarge(RemoteAnswerInvalid):
    """An answer has more bytes than are read; asked for less, the server may answer with less."""


class RemoteNotFound(RemoteError):
    """The server says that the thing asked for does not exist (404)."""


class RemoteRefused(RemoteError):
    """The server understood and refused (any other 4xx); the same call would be refused again.

    `code` is the refusal's name in the answer's JSON, where it has one.
    """

    def __init__(self, message: str, code: str | None = None) -> None:
        self.code = code
        super().__init__(message)


class CredentialsRejected(RemoteError):
    """The server rejected our credentials (401, 403)."""


class PermissionMissing(CredentialsRejected):
    """The server knows our credentials, but they don't allow this call (403)."""
