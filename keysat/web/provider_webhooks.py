"""Provider webhooks. Each is verified, stored and acknowledged. The provider is then queried about its subject."""

from __future__ import annotations

import time
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from sqlalchemy.orm import Session

from keysat.accounts.inbox import release_events, store
from keysat.core import metrics
from keysat.core.db import reading, transaction
from keysat.core.errors import InvalidInput, KeysatError, NotFound, Unauthorized
from keysat.models import ProviderAccount
from keysat.providers.base import ReceivedEvent, Webhook
from keysat.providers.refusals import WebhookMalformed, WebhookRejected
from keysat.providers.registry import provider_for
from keysat.queue.claim import Claim
from keysat.tasks.tasks import handle_provider_event
from keysat.tasks.wake import wake
from keysat.web.errors import documented
from keysat.web.limits import limit_webhooks

router = APIRouter(prefix="/v1", tags=["provider webhooks"], responses=documented(401, 404))


class Stored(BaseModel):
    """The webhook is stored. `duplicate` if it was stored before."""

    ok: Literal[True] = True
    duplicate: bool


async def _raw_body(request: Request) -> bytes:
    return await request.body()


Body = Annotated[bytes, Depends(_raw_body)]


@router.post("/{kind}/webhook/{account_id}")
def webhook(kind: str, account_id: UUID, request: Request, body: Body) -> Stored:
    """Receive a webhook of a provider that signs."""
    return _receive(kind, account_id, Webhook(request.headers, body))


@router.post("/{kind}/webhook/{account_id}/{token}")
def webhook_with_token(kind: str, account_id: UUID, token: str, request: Request, body: Body) -> Stored:
    """Receive a webhook of a provider that doesn't sign, at a URL that only it knows."""
    return _receive(kind, account_id, Webhook(request.headers, body, token))


def _receive(kind: str, account_id: UUID, webhook: Webhook) -> Stored:
    with reading() as session:
        account = _account(session, kind, account_id)
    try:
        event = _verified(account, webhook)
    except KeysatError:
        metrics.webhooks.labels("", "rejected").inc()
        raise
    limit_webhooks(str(account_id))
    began = time.monotonic()
    with transaction() as session:
        event_id = store(session, account.id, event, webhook.body)
    if event_id is not None:
        wake(handle_provider_event, Claim(event_id), began, release_events)
    metrics.webhooks.labels(account.name, "duplicate" if event_id is None else "stored").inc()
    return Stored(duplicate=event_id is None)


def _account(session: Session, kind: str, account_id: UUID) -> ProviderAccount:
    # The index is searched by the whole id, so the duration doesn't reveal how close a guess was.
    account = session.get(ProviderAccount, account_id)
    if account is None or account.kind != kind:
        raise NotFound("provider account", account_id)
    return account


def _verified(account: ProviderAccount, webhook: Webhook) -> ReceivedEvent:
    try:
        return provider_for(account).parse_webhook(webhook)
    except WebhookMalformed as error:
        raise InvalidInput(str(error)) from None
    except WebhookRejected:
        raise Unauthorized("the webhook's signature or token is wrong.") from None
