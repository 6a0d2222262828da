"""Manage endpoints: the operator's receivers, their secrets, and whether they are active."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from cryptography.fernet import MultiFernet
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from keysat.core.errors import Conflict, InvalidInput, SettingsError, require
from keysat.core.hints import Hint
from keysat.core.secrets import seal, unseal
from keysat.models import WebhookDelivery, WebhookEndpoint
from keysat.models.audit import audit
from keysat.models.columns import seconds
from keysat.net.untrusted import check_url
from keysat.queue.outbox import EventType, emit
from keysat.webhooks.signing import check_secret, new_secret

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def add_endpoint(
    session: Session,
    box: MultiFernet,
    name: str,
    url: str,
    event_types: Sequence[str] = (),
    *,
    secret: str = "",
    with_key: bool = False,
    allow_http: bool = False,
    actor: str,
) -> tuple[WebhookEndpoint, str]:
    """Store an endpoint. Return it with its secret, which is generated if empty and only shown now.

    Raises:
        InvalidInput: the name, the URL, an event type or the secret is invalid.
        Conflict: the name is taken.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"endpoint name {name!r} must be lower-case letters, digits, '.', '_' or '-', 63 at most.")
    if session.scalar(select(WebhookEndpoint.id).where(WebhookEndpoint.name == name)) is not None:
        raise Conflict(f"there is an endpoint {name} already; choose another name.")
    if secret:
        check_secret(secret)
    _check(url, allow_http=allow_http, with_key=with_key)
    secret = secret or new_secret()
    endpoint = WebhookEndpoint(
        name=name,
        url=url,
        event_types=_known(event_types),
        with_key=with_key,
        sealed_secrets=seal(box, {"secret": secret}),
    )
    session.add(endpoint)
    session.flush()
    session.refresh(endpoint)
    facts = {"name": name, "event_types": list(event_types) or None, "with_key": with_key or None}
    audit(session, actor, "endpoint.added", endpoint.id, **facts)
    return endpoint, secret


def change_endpoint(
    session: Session,
    name: str,
    *,
    url: str | None = None,
    event_types: Sequence[str] | None = None,
    with_key: bool | None = None,
    allow_http: bool = False,
    actor: str,
) -> WebhookEndpoint:
    """Change an endpoint's URL or whether it gets keys, also for pending deliveries, or its events from now on.

    Raises:
        NotFound: no such endpoint.
        InvalidInput: the URL or an event type is invalid.
    """
    endpoint = require_endpoint(session, name)
    gets_key = endpoint.with_key if with_key is None else with_key
    if url is not None or gets_key:
        _check(url or endpoint.url, allow_http=allow_http, with_key=gets_key)
    endpoint.url, endpoint.with_key = url or endpoint.url, gets_key
    if event_types is not None:
        endpoint.event_types = _known(event_types)
    session.flush()
    audit(session, actor, "endpoint.changed", endpoint.id, name=name, with_key=with_key)
    return endpoint


def remove_endpoint(session: Session, name: str, actor: str) -> None:
    """Remove an endpoint with its pending deliveries and its delivery history.

    Raises:
        NotFound: no such endpoint.
    """
    endpoint = require_endpoint(session, name)
    audit(session, actor, "endpoint.removed", endpoint.id, name=name)
    session.delete(endpoint)
    session.flush()


def pause_endpoint(session: Session, name: str, actor: str) -> WebhookEndpoint:
    """Pause the deliveries to an endpoint. New deliveries wait until it is resumed.

    Raises:
        NotFound: no such endpoint.
    """
    endpoint = require_endpoint(session, name)
    if not endpoint.paused:
        endpoint.paused_at = func.now()
        audit(session, actor, "endpoint.paused", endpoint.id, name=name)
    return _fresh(session, endpoint)


def resume_endpoint(session: Session, name: str, actor: str) -> WebhookEndpoint:
    """Resume an endpoint that was paused or disabled. Its waiting deliveries are attempted at once.

    Raises:
        NotFound: no such endpoint.
    """
    endpoint = require_endpoint(session, name)
    if not endpoint.active:
        endpoint.paused_at = endpoint.disabled_at = endpoint.disabled_reason = endpoint.failing_since = None
        audit(session, actor, "endpoint.resumed", endpoint.id, name=name)
        waiting = WebhookDelivery.next_attempt_at > func.now()
        session.execute(
            update(WebhookDelivery)
            .where(WebhookDelivery.endpoint_id == endpoint.id, waiting, WebhookDelivery.leased_until.is_(None))
            .values(next_attempt_at=func.now())
        )
    return _fresh(session, endpoint)


def disable_endpoint(session: Session, endpoint_id: UUID, reason: str, actor: str) -> None:
    """Disable an endpoint until a person resumes it, and emit an event. Its pending deliveries are not deleted."""
    name = session.scalar(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint_id, ~WebhookEndpoint.disabled)
        .values(disabled_at=func.now(), disabled_reason=reason)
        .returning(WebhookEndpoint.name)
    )
    if name is not None:
        audit(session, actor, "endpoint.disabled", endpoint_id, name=name, reason=reason)
        emit(session, EventType.ENDPOINT_DISABLED, {"endpoint_id": endpoint_id, "name": name, "reason": reason})


def rotate_secret(
    session: Session, box: MultiFernet, name: str, overlap: timedelta, *, secret: str = "", actor: str
) -> str:
    """Set and return a new secret. Until the overlap ends, deliveries are signed with the old one, too.

    Raises:
        NotFound: no such endpoint.
        InvalidInput: the given secret is invalid.
    """
    endpoint = require_endpoint(session, name)
    if secret:
        check_secret(secret)
    secret = secret or new_secret()
    try:
        old = {"previous": unseal(box, endpoint.sealed_secrets, f"endpoint {name}", "secret")["secret"]}
    except SettingsError:  # it can't be read, so nothing can be signed with it any more
        old = {}
    endpoint.sealed_secrets = seal(box, {"secret": secret, **old})
    endpoint.previous_until = func.now() + seconds(overlap.total_seconds())
    session.flush()
    audit(session, actor, "endpoint.secret_rotated", endpoint.id, name=name)
    return secret


def list_endpoints(session: Session) -> list[WebhookEndpoint]:
    """Return all endpoints, by name."""
    return list(session.scalars(select(WebhookEndpoint).order_by(WebhookEndpoint.name)))


def require_endpoint(session: Session, name: str) -> WebhookEndpoint:
    """Return the endpoint with this name.

    Raises:
        NotFound: no such endpoint.
    """
    endpoint = session.scalar(select(WebhookEndpoint).where(WebhookEndpoint.name == name))
    return require(endpoint, "webhook endpoint", name, Hint.LIST_ENDPOINTS)


def _check(url: str, *, allow_http: bool, with_key: bool) -> None:
    if with_key and not url.startswith("https://"):
        raise InvalidInput(f"license keys are sent to https:// only; the URL {url[:100]!r} can't get them.")
    if url.startswith("http://") and not allow_http:
        raise InvalidInput(
            f"the URL {url[:100]!r} must start with https://, as the settings allow no http://.",
            Hint.ALLOW_HTTP_ENDPOINTS,
        )
    check_url(url, allow_http=allow_http)


def _known(event_types: Sequence[str]) -> list[str]:
    known = {str(event_type) for event_type in EventType}
    if unknown := sorted(set(event_types) - known):
        raise InvalidInput(f"{', '.join(unknown)} is no event; there are: {', '.join(sorted(known))}.")
    return sorted(set(event_types))


def _fresh(session: Session, endpoint: WebhookEndpoint) -> WebhookEndpoint:
    session.flush()
    session.refresh(endpoint)
    return endpoint
