"""Provider accounts. Their credentials go in and never come out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel, StringConstraints
from sqlalchemy import select

from keysat.db import reading, transaction
from keysat.invariants import broken
from keysat.invoices.gauge import read_gauge
from keysat.models import ProviderAccount
from keysat.providers import accounts
from keysat.providers.base import MIN_SECRET_BYTES
from keysat.providers.registry import provider_for
from keysat.providers.silence import silent_accounts
from keysat.secrets import secret_box
from keysat.settings import load_settings
from keysat.web.admin.auth import Reader, Writer
from keysat.web.admin.shapes import Done, Note, Row
from keysat.web.errors import documented
from keysat.web.fields import Input, Line, Slug

router = APIRouter(tags=["admin: provider accounts"])

AccountName = Annotated[Slug, Path(description="The account's name.")]
ApiKey = Annotated[str, StringConstraints(max_length=1_000, pattern=r"^[\x21-\x7e]+$")]
WebhookSecret = Annotated[str, StringConstraints(max_length=1_000, pattern=rf"^([\x21-\x7e]{{{MIN_SECRET_BYTES},}})?$")]


class Credentials(Input):
    """The API key, and the webhook secret of 24 bytes or more; without one the account keeps the one it has."""

    api_key: ApiKey
    webhook_secret: WebhookSecret = ""


class NewAccount(Credentials):
    """An account; URL and store are left out where its kind has its own, or none."""

    name: Slug
    kind: Slug
    base_url: Line = ""
    store_id: Line = ""


class AccountRow(Row):
    """An account and how it fares: whether it is paused or left alone after failures, and when webhooks came."""

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


class Status(BaseModel):
    """What is owed, as `keysat status` tells it. `trouble`: something waits for a person.

    `breaches` are sentences about what must always be true and isn't, each with its remedy.
    """

    trouble: bool
    pending: int
    due: int
    late: int
    review: int
    unfulfilled: int
    overdue_licenses: int
    failing: int
    abandoned: int
    silent_webhooks: list[str]
    breaches: list[str]


@router.get("/status", tags=["admin: status"])
def status(_: Reader) -> Status:
    """Tell what is owed."""
    with reading() as session:
        gauge, silent = read_gauge(session), silent_accounts(session)
        breaches = broken(session, load_settings().scan_seconds)
    counts = {name: getattr(gauge, name) for name in Status.model_fields if hasattr(gauge, name)}
    counts["trouble"] = gauge.trouble or bool(silent or breaches)
    return Status(**counts, silent_webhooks=[one.account for one in silent], breaches=[*map(str, breaches)])


@router.get("/accounts")
def list_accounts(_: Reader) -> list[AccountRow]:
    """List the accounts."""
    with reading() as session:
        rows = session.scalars(select(ProviderAccount).order_by(ProviderAccount.name)).all()
    return [AccountRow.model_validate(row) for row in rows]


@router.post("/accounts", status_code=201, responses=documented(409))
def create_account(body: NewAccount, actor: Writer) -> AccountRow:
    """Add an account; its credentials are stored encrypted."""
    with transaction() as session:
        row = accounts.add_account(
            session,
            secret_box(load_settings()),
            name=body.name,
            kind=body.kind,
            base_url=body.base_url,
            store_id=body.store_id,
            api_key=body.api_key,
            webhook_secret=body.webhook_secret,
            actor=actor,
        )
        session.refresh(row)
    return AccountRow.model_validate(row)


@router.get("/accounts/{name}", responses=documented(404))
def get_account(name: AccountName, _: Reader) -> AccountRow:
    """Tell about one account."""
    return _account(name)


@router.delete("/accounts/{name}", responses=documented(404, 409))
def delete_account(name: AccountName, actor: Writer) -> Done:
    """Remove an account that has no invoices."""
    with transaction() as session:
        accounts.remove_account(session, name, actor)
    return Done()


@router.post("/accounts/{name}/test", responses=documented(404, 502))
def check_account(name: AccountName, _: Writer) -> Done:
    """Ask the provider something harmless, to see that address and credentials work."""
    with reading() as session:
        account = accounts.require_account(session, name)
    provider_for(account).check_credentials()
    return Done()


@router.post("/accounts/{name}/pause", responses=documented(404))
def pause_account(name: AccountName, body: Note, actor: Writer) -> AccountRow:
    """Stop asking for this account's invoices; nothing is lost, they wait."""
    with transaction() as session:
        accounts.pause(session, accounts.require_account(session, name).id, body.note, actor)
    return _account(name)


@router.post("/accounts/{name}/resume", responses=documented(404))
def resume_account(name: AccountName, actor: Writer) -> AccountRow:
    """Ask again, from the next scan on."""
    with transaction() as session:
        accounts.resume(session, name, actor)
    return _account(name)


@router.put("/accounts/{name}/credentials", responses=documented(404))
def renew_credentials(name: AccountName, body: Credentials, actor: Writer) -> AccountRow:
    """Replace the credentials and resume the account."""
    with transaction() as session:
        accounts.renew_credentials(
            session,
            secret_box(load_settings()),
            name,
            api_key=body.api_key,
            webhook_secret=body.webhook_secret,
            actor=actor,
        )
    return _account(name)


def _account(name: str) -> AccountRow:
    with reading() as session:
        return AccountRow.model_validate(accounts.require_account(session, name))
