"""Admin routes for provider accounts. Credentials are write-only."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import AfterValidator, Field, StringConstraints

from keysat.accounts import checked, manage
from keysat.accounts.selling import sell_with
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import InvalidInput
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.net.certificates import check_pem
from keysat.providers.refusals import MIN_SECRET_BYTES
from keysat.web.admin.auth import Reader, Writer
from keysat.web.admin.shapes import Done, Note, Row
from keysat.web.bulkhead import ASKING
from keysat.web.errors import documented
from keysat.web.fields import UNCHANGED, Changes, Input, Line, Slug

router = APIRouter(tags=["admin: provider accounts"])

AccountName = Annotated[Slug, Path(description="The account's name.")]
ApiKey = Annotated[str, StringConstraints(max_length=1_000, pattern=r"^[\x21-\x7e]+$")]
_MAX_PEM = 20_000


def _pem(text: str) -> str:
    if len(text) > _MAX_PEM:
        raise ValueError(f"more than {_MAX_PEM:,} characters")
    try:
        return check_pem(text)
    except InvalidInput as error:
        raise ValueError(str(error)) from None


Pem = Annotated[str, AfterValidator(_pem)]
WebhookSecret = Annotated[str, StringConstraints(max_length=1_000, pattern=rf"^([\x21-\x7e]{{{MIN_SECRET_BYTES},}})?$")]


class Credentials(Input):
    """The API key, and a webhook secret of 24 bytes or more. Without one the account keeps its secret."""

    api_key: ApiKey
    webhook_secret: WebhookSecret = ""


class NewCredentials(Credentials):
    """`unchecked` stores them without checking that the provider accepts the key."""

    unchecked: bool = False


class NewAccount(Credentials):
    """A new account. Leave out the URL if its kind has its own, and the store if its kind has none.

    `is_sandbox`: its coins aren't real. If left out, a server on this machine is a sandbox. `ca_pem`: authorities to
    trust for its server. `unchecked` stores it without checking that the provider accepts the key.
    """

    name: Slug
    kind: Slug
    base_url: Line = ""
    store_id: Line = ""
    is_sandbox: bool | None = None
    ca_pem: Pem | None = None
    unchecked: bool = False


class AccountChanges(Changes):
    """Changes to an account. Fields left out stay unchanged. `ca_pem` null trusts the system's authorities only."""

    name: Slug = UNCHANGED
    base_url: Line = UNCHANGED
    store_id: Line = UNCHANGED
    is_sandbox: bool = UNCHANGED
    ca_pem: Pem | None = UNCHANGED
    unchecked: bool = False


class Selling(Input):
    """The names of the accounts that sell, in order. Each one sells only if those before it can't."""

    accounts: Annotated[list[Slug], Field(max_length=50)]


class AccountRow(Row):
    """An account and its health: whether it is paused or resting after failures, and when webhooks arrived."""

    id: UUID
    name: str
    kind: str
    base_url: str
    store_id: str
    created_at: datetime
    paused_at: datetime | None
    pause_reason: str | None
    failure_count: int
    open_until: datetime | None
    last_error: str | None
    webhook_connected_at: datetime | None
    last_event_at: datetime | None
    create_failure_count: int
    create_open_until: datetime | None
    create_last_error: str | None
    recheck_at: datetime | None
    selling_rank: int | None
    is_sandbox: bool


@router.get("/accounts")
def list_accounts(_: Reader) -> list[AccountRow]:
    """List the provider accounts."""
    with reading() as session:
        return [AccountRow.model_validate(row) for row in manage.list_accounts(session)]


@router.post("/accounts", status_code=201, responses=documented(409, 502), dependencies=ASKING)
def create_account(body: NewAccount, actor: Writer) -> AccountRow:
    """Add an account. Its credentials are stored encrypted."""
    new = manage.NewAccount(**body.model_dump(exclude={"unchecked"}))
    box = secret_box(load_settings())
    return AccountRow.model_validate(checked.check_and_add(DATABASE, box, new, actor, unchecked=body.unchecked))


@router.patch("/accounts/{name}", responses=documented(404, 409, 502), dependencies=ASKING)
def change_account(name: AccountName, body: AccountChanges, actor: Writer) -> AccountRow:
    """Change an account's name, address, store, sandbox mark or authorities, after checking its key there."""
    changes = body.changes("unchecked")
    row = checked.check_and_edit(DATABASE, name, changes, actor, unchecked=body.unchecked)
    return AccountRow.model_validate(row)


@router.put("/selling", responses=documented(404))
def choose_selling(body: Selling, actor: Writer) -> list[AccountRow]:
    """Set the accounts that sell, in order. Any other account sells only if a product names it."""
    with transaction() as session:
        sell_with(session, body.accounts, actor)
    return list_accounts(actor)


@router.get("/accounts/{name}", responses=documented(404))
def get_account(name: AccountName, _: Reader) -> AccountRow:
    """Get an account."""
    return _account(name)


@router.delete("/accounts/{name}", responses=documented(404, 409))
def delete_account(name: AccountName, actor: Writer) -> Done:
    """Remove an account that has no invoices."""
    with transaction() as session:
        manage.remove_account(session, name, actor)
    return Done()


@router.post("/accounts/{name}/test", responses=documented(404, 502), dependencies=ASKING)
def check_account(name: AccountName, _: Writer) -> Done:
    """Check address and credentials with a harmless request to the provider."""
    checked.check_account(DATABASE, name)
    return Done()


@router.post("/accounts/{name}/pause", responses=documented(404))
def pause_account(name: AccountName, body: Note, actor: Writer) -> AccountRow:
    """Stop checking this account's invoices. Nothing is lost, they wait."""
    with transaction() as session:
        manage.pause(session, manage.require_account(session, name).id, body.note, actor)
    return _account(name)


@router.post("/accounts/{name}/resume", responses=documented(404))
def resume_account(name: AccountName, actor: Writer) -> AccountRow:
    """Check this account's invoices again from the next scan on."""
    with transaction() as session:
        manage.resume(session, name, actor)
    return _account(name)


@router.put("/accounts/{name}/credentials", responses=documented(404, 502), dependencies=ASKING)
def renew_credentials(name: AccountName, body: NewCredentials, actor: Writer) -> AccountRow:
    """Replace the credentials, once the provider accepts them, and resume the account."""
    box = secret_box(load_settings())
    checked.check_and_renew(DATABASE, box, name, body.api_key, body.webhook_secret, actor, unchecked=body.unchecked)
    return _account(name)


def _account(name: str) -> AccountRow:
    with reading() as session:
        return AccountRow.model_validate(manage.require_account(session, name))
