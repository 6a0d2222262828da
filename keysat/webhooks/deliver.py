"""Make a delivery: lease, sign, send, record. No transaction is open during the call to the receiver."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from cryptography.fernet import MultiFernet
from uuid_utils.compat import uuid7

from keysat.core import metrics
from keysat.core.db import Database
from keysat.core.errors import CallFailed, InvalidInput, SettingsError
from keysat.core.logs import get_logger
from keysat.core.secrets import secret_box, unseal
from keysat.core.settings import Settings
from keysat.core.texts import printable
from keysat.models import WebhookEndpoint
from keysat.net.addresses import Networks
from keysat.net.client import retry_after
from keysat.net.untrusted import UntrustedClient
from keysat.queue.outbox import EventType
from keysat.webhooks.delivery_queue import Attempt, LeasedDelivery, Recorded, lease, record_attempt
from keysat.webhooks.license_keys import KeyOf, with_key
from keysat.webhooks.samples import sample
from keysat.webhooks.signing import signed_headers

DEADLINE_SECONDS = 10.0
TEST_EVENT = "webhook.test"
_NOT_KEPT = "(not kept, as it may repeat the license key)"
_EXCERPT_BYTES = 2_000

log = get_logger(__name__)


@dataclass(frozen=True)
class Sender:
    """The client and keys that a process needs to deliver. Created once, shared by all its threads."""

    client: UntrustedClient
    box: MultiFernet
    at_once: int
    key_of: KeyOf

    @classmethod
    def of(cls, settings: Settings, key_of: KeyOf) -> Sender:
        """Build the sender from the settings.

        Raises:
            SettingsError: the key for the endpoints' secrets is missing.
        """
        networks = Networks.parse(settings.webhook_allowed_networks)
        client = client_of(settings, networks, allow_http=settings.webhook_allow_http)
        return cls(client, secret_box(settings), settings.webhook_concurrency, key_of)


def client_of(settings: Settings, networks: Networks, *, allow_http: bool) -> UntrustedClient:
    """Return a client that calls receivers at public addresses and in `networks`."""
    return UntrustedClient(
        networks,
        deadline=DEADLINE_SECONDS,
        max_bytes=_EXCERPT_BYTES,
        ca_file=settings.ca_file,
        allow_http=allow_http,
    )


@dataclass(frozen=True)
class DeliveryResult:
    """The result of an attempt in a few words, and the endpoint's next delivery to attempt now, if any."""

    sentence: str
    next_id: UUID | None = None


def deliver(database: Database, sender: Sender, delivery_id: UUID) -> DeliveryResult:
    """Attempt a pending delivery. If it is leased, attempt the one of its endpoint that waits longest."""
    with database.transaction() as session:
        leased = lease(session, delivery_id, sender.at_once)
    if leased is None:
        log.debug("nothing to deliver", delivery_id=str(delivery_id))
        return DeliveryResult("nothing to do")
    attempt = _attempt(database, sender, leased)
    metrics.deliveries.labels(leased.endpoint, "delivered" if attempt.delivered else "failed").inc()
    with database.transaction() as session:
        recorded = record_attempt(session, leased, attempt)
    return DeliveryResult(_reported(leased, attempt, recorded), None if recorded is None else recorded.next_id)


def _reported(leased: LeasedDelivery, attempt: Attempt, recorded: Recorded | None) -> str:
    """Log what an attempt led to, and return it in a few words without the receiver's address."""
    ids = {
        "delivery_id": str(leased.delivery_id),
        "endpoint_id": str(leased.endpoint_id),
        "endpoint": leased.endpoint,
    }
    status = attempt.status_code or "no response"
    if recorded is None:
        log.info("endpoint removed", **ids, failure=attempt.failure)
        return "the endpoint was removed"
    if attempt.delivered:
        log.info("delivered", **ids, status=status, duration_ms=attempt.duration_ms)
        return f"delivered: {status}"
    if not recorded.written:
        log.debug("superseded", **ids, failure=attempt.failure)
        return f"failed: {status}, superseded"
    if recorded.wait is None:
        log.warning("delivery given up", **ids, failure=attempt.failure)
        return f"failed: {status}, given up"
    log.info("delivery failed", **ids, failure=attempt.failure, wait=round(recorded.wait))
    return f"failed: {status}, retried in {recorded.wait:.0f} s"


def call_receiver(client: UntrustedClient, url: str, headers: dict[str, str], body: bytes) -> Attempt:
    """Call a receiver once. A failure is returned as the attempt's error."""
    began = time.monotonic()
    try:
        answer = client.request("POST", url, body=body, headers=headers)
    except (CallFailed, InvalidInput) as error:
        return Attempt(_since(began), error=str(error))
    return Attempt(
        _since(began),
        status_code=answer.status,
        answer=printable(answer.body[:_EXCERPT_BYTES].decode("utf-8", "replace")),
        retry_after=retry_after(answer.headers.get("Retry-After")),
    )


def send_test(sender: Sender, endpoint: WebhookEndpoint, event_type: EventType | None = None) -> Attempt:
    """Send a signed sample of an event to an endpoint now, by default `webhook.test`. It is neither stored nor retried.

    Raises:
        SettingsError: the endpoint's secret can't be read.
    """
    secret = unseal(sender.box, endpoint.sealed_secrets, f"endpoint {endpoint.name}", "secret")["secret"]
    now = datetime.now(UTC)
    name = event_type or TEST_EVENT
    data = {"endpoint": endpoint.name} if event_type is None else sample(event_type, with_key=endpoint.with_key)
    body = json.dumps({"event_type": name, "timestamp": now.isoformat(), "data": data}).encode()
    headers = signed_headers(uuid7(), name, body, [secret], int(now.timestamp()))
    return call_receiver(sender.client, endpoint.url, headers, body)


def _attempt(database: Database, sender: Sender, leased: LeasedDelivery) -> Attempt:
    try:
        secrets = unseal(sender.box, leased.sealed_secrets, f"endpoint {leased.endpoint}", "secret")
        body = leased.body
        if leased.license_id is not None:
            with database.reading() as session:
                body = with_key(session, sender.key_of, leased.license_id, body)
    except SettingsError as error:
        return Attempt(0, error=str(error))
    keys = [secrets["secret"], *([secrets["previous"]] if leased.with_previous and "previous" in secrets else [])]
    headers = signed_headers(leased.delivery_id, leased.event_type, body, keys, int(time.time()))
    attempt = call_receiver(sender.client, leased.url, headers, body)
    may_repeat_the_key = leased.license_id is not None and attempt.answer
    return replace(attempt, answer=_NOT_KEPT) if may_repeat_the_key else attempt


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
