"""Rate limits, shared by all web processes through the broker's server, per process while it is unavailable.

Each process counts validations, machine calls and polls on its own. They are frequent, and a round trip to share the
count would be a large part of their cost. These windows use the monotonic clock. The MemoryStorage of `limits` uses the
time of day, which may jump, and starts a thread every 10 ms to expire its entries.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from functools import cache
from ipaddress import IPv6Address, ip_address
from threading import BoundedSemaphore, Lock

from fastapi import Request
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.retry import Retry

from keysat.core.errors import RateLimited
from keysat.core.settings import load_settings

_SERVER_SECONDS = 0.5
# Max threads waiting for the server, max seconds to wait for a turn, and the pause after a failure.
_SERVER_PLACES, _TURN_SECONDS, _REST_SECONDS = 4, 0.05, 5.0
# Many customers get a whole /48. Its limit is this many times the limit of one /64.
_SITE_FACTOR = 16


class _Server:
    """Request counts that all web processes share."""

    def __init__(self, broker_url: str) -> None:
        url = broker_url.replace("redis+socket://", "unix://", 1)
        pool = ConnectionPool.from_url(
            url, socket_timeout=_SERVER_SECONDS, socket_connect_timeout=_SERVER_SECONDS, retry=Retry(NoBackoff(), 0)
        )
        self._limiter = FixedWindowRateLimiter(RedisStorage(url, connection_pool=pool, wrap_exceptions=True))
        self._places, self._rests_until = BoundedSemaphore(_SERVER_PLACES), 0.0

    def wait(self, rule: RateLimitItem, who: tuple[str, ...]) -> int | None:
        """Count a request. Return the seconds to wait if it exceeds the limit, 0 if not, None if unknown."""
        if time.monotonic() < self._rests_until or not self._places.acquire(timeout=_TURN_SECONDS):
            return None
        try:
            if self._limiter.hit(rule, *who):
                return 0
            reset = self._limiter.get_window_stats(rule, *who).reset_time
        except StorageError:
            self._rests_until = time.monotonic() + _REST_SECONDS
            return None
        finally:
            self._places.release()
        return max(1, math.ceil(reset - time.time()))


@cache
def _server(broker_url: str) -> _Server:
    return _Server(broker_url)


class _Window:
    """A rate's current window in this process: the number of requests per client since its start."""

    def __init__(self, rule: RateLimitItem) -> None:
        self._rule, self._lock = rule, Lock()
        self._until, self._counts = 0.0, Counter[tuple[str, ...]]()

    def admit(self, who: tuple[str, ...]) -> None:
        now = time.monotonic()
        with self._lock:
            if now >= self._until:
                self._until = now + self._rule.get_expiry()
                self._counts.clear()
            self._counts[who] += 1
            if self._counts[who] > self._rule.amount:
                raise RateLimited(math.ceil(self._until - now))


@cache
def _own(rate: str, factor: int = 1) -> _Window:
    return _Window(_rule(rate, factor))


@cache
def _rule(text: str, factor: int = 1) -> RateLimitItem:
    rule = parse(text)
    return type(rule)(rule.amount * factor, rule.multiples)


def admit(rate: str, *who: str, factor: int = 1) -> None:
    """Count a request against a rate such as "30/minute", or `factor` times that.

    Raises:
        RateLimited: The request exceeds the rate.
    """
    rule = _rule(rate, factor)
    wait = _server(load_settings().broker_url).wait(rule, who)
    if wait is None:
        _own(rate, factor).admit(who)
    elif wait:
        raise RateLimited(wait)


def client_networks(request: Request) -> list[tuple[str, int]]:
    """Return the IPv4 address of the client, or its IPv6 /64 and /48 networks, each with its limit's factor."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return [(host, 1)]
    if not isinstance(address, IPv6Address):
        return [(host, 1)]
    if address.ipv4_mapped:
        return [(str(address.ipv4_mapped), 1)]
    networks = {bits: str(IPv6Address(int(address) >> 128 - bits << 128 - bits)) for bits in (64, 48)}
    return [(networks[64], 1), (f"{networks[48]}/48", _SITE_FACTOR)]


def admit_client(rate: str, what: str, request: Request) -> None:
    """Count a request against the rate of its client.

    Raises:
        RateLimited: The request exceeds the rate.
    """
    for network, factor in client_networks(request):
        admit(rate, what, network, factor=factor)


def limit_purchases(request: Request) -> None:
    """Dependency that counts a purchase or redemption."""
    admit_client(load_settings().rate_purchase, "purchase", request)


def limit_previews(request: Request) -> None:
    """Dependency that counts a preview, as a code could be guessed with it. The rate is that of purchases."""
    admit_client(load_settings().rate_purchase, "preview", request)


def limit_recoveries(request: Request) -> None:
    """Dependency that counts an attempt to recover a license."""
    admit_client(load_settings().rate_recover, "recover", request)


def limit_validations(request: Request) -> None:
    """Dependency that counts a validation, a machine call or a poll."""
    rate = load_settings().rate_validate
    for network, factor in client_networks(request):
        _own(rate, factor).admit(("validate", network))


def limit_webhooks(account: str) -> None:
    """Count a webhook of a provider account."""
    admit(load_settings().rate_webhook, "webhook", account)
