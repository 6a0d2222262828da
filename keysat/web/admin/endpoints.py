"""Admin routes for endpoints of outbound webhooks, which receive events."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import Field, StringConstraints

from keysat.core.db import reading, transaction
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.queue.outbox import EventType
from keysat.web.admin.auth import Reader, Writer
from keysat.web.admin.shapes import Done, Row
from keysat.web.errors import documented
from keysat.web.fields import UNCHANGED, Changes, Input, Line, Slug
from keysat.webhooks import endpoints
from keysat.webhooks.signing import MIN_SECRET_BYTES

router = APIRouter(prefix="/endpoints", tags=["admin: outbound webhooks"])

Name = Annotated[Slug, Path(description="The endpoint's name.")]
GivenSecret = Annotated[str, StringConstraints(max_length=1_000, pattern=rf"^([\x21-\x7e]{{{MIN_SECRET_BYTES},}})?$")]
EventTypes = Annotated[list[EventType], Field(max_length=50, description="Which it wants; empty = all.")]

WithKey = Annotated[bool, Field(description="Put `license_key` into `license.issued`. Only for https URLs.")]


class NewEndpoint(Input):
    """A new endpoint. Without a `secret` one is generated and returned, only this once."""

    name: Slug
    url: Line
    event_types: EventTypes = Field(default_factory=list)
    secret: GivenSecret = ""
    with_key: WithKey = False


class EndpointChanges(Changes):
    """Changes to an endpoint. Fields left out stay unchanged."""

    url: Line = UNCHANGED
    event_types: EventTypes = UNCHANGED
    with_key: WithKey = UNCHANGED


class Rotation(Input):
    """A new secret, generated if left out. The old one also signs for `overlap_seconds`."""

    overlap_seconds: Annotated[int, Field(ge=0, le=30 * 86_400)] = 86_400
    secret: GivenSecret = ""


class EndpointRow(Row):
    """An endpoint and its health. Nothing is sent while it is paused or disabled."""

    id: UUID
    name: str
    url: str
    event_types: list[str]
    with_key: bool
    created_at: datetime
    paused_at: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    failing_since: datetime | None
    previous_until: datetime | None


class EndpointWithSecret(EndpointRow):
    """An endpoint and the secret that its deliveries are signed with from now on."""

    secret: str


@router.get("")
def list_endpoints(_: Reader) -> list[EndpointRow]:
    """List the endpoints."""
    with reading() as session:
        rows = endpoints.list_endpoints(session)
    return [EndpointRow.model_validate(row) for row in rows]


@router.post("", status_code=201, responses=documented(409))
def create_endpoint(body: NewEndpoint, actor: Writer) -> EndpointWithSecret:
    """Add an endpoint."""
    settings = load_settings()
    with transaction() as session:
        row, secret = endpoints.add_endpoint(
            session,
            secret_box(settings),
            body.name,
            body.url,
            body.event_types,
            secret=body.secret,
            with_key=body.with_key,
            allow_http=settings.webhook_may_be_http,
            actor=actor,
        )
    return EndpointWithSecret(**EndpointRow.model_validate(row).model_dump(), secret=secret)


@router.patch("/{name}", responses=documented(404))
def update_endpoint(name: Name, body: EndpointChanges, actor: Writer) -> EndpointRow:
    """Change an endpoint's URL or whether it gets keys, also for pending deliveries, or its events."""
    http = load_settings().webhook_may_be_http
    with transaction() as session:
        endpoints.change_endpoint(
            session,
            name,
            url=body.url,
            event_types=body.event_types,
            with_key=body.with_key,
            allow_http=http,
            actor=actor,
        )
    return _endpoint(name)


@router.get("/{name}", responses=documented(404))
def get_endpoint(name: Name, _: Reader) -> EndpointRow:
    """Get an endpoint."""
    return _endpoint(name)


@router.delete("/{name}", responses=documented(404))
def delete_endpoint(name: Name, actor: Writer) -> Done:
    """Remove an endpoint with its pending deliveries and its delivery history."""
    with transaction() as session:
        endpoints.remove_endpoint(session, name, actor)
    return Done()


@router.post("/{name}/pause", responses=documented(404))
def pause_endpoint(name: Name, actor: Writer) -> EndpointRow:
    """Pause an endpoint. Its deliveries wait."""
    with transaction() as session:
        endpoints.pause_endpoint(session, name, actor)
    return _endpoint(name)


@router.post("/{name}/resume", responses=documented(404))
def resume_endpoint(name: Name, actor: Writer) -> EndpointRow:
    """Send the deliveries that waited for a paused or disabled endpoint."""
    with transaction() as session:
        endpoints.resume_endpoint(session, name, actor)
    return _endpoint(name)


@router.post("/{name}/rotate", responses=documented(404))
def rotate_endpoint_secret(name: Name, body: Rotation, actor: Writer) -> EndpointWithSecret:
    """Give an endpoint a new secret. Until the overlap ends, deliveries are signed with the old one, too."""
    overlap = timedelta(seconds=body.overlap_seconds)
    with transaction() as session:
        secret = endpoints.rotate_secret(
            session, secret_box(load_settings()), name, overlap, secret=body.secret, actor=actor
        )
    return EndpointWithSecret(**_endpoint(name).model_dump(), secret=secret)


def _endpoint(name: str) -> EndpointRow:
    with reading() as session:
        return EndpointRow.model_validate(endpoints.require_endpoint(session, name))
