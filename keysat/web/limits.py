"""Rate limits, shared by all web processes through the broker's server; each process's own while that is away.

Validations, machine calls and polls are counted by each process for itself: they are many, and a round trip to share
the count would be a good part of what one costs.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from functools import cache
from ipaddress import IPv6Address, ip_address
from threading import Lock

from fastapi import Request
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis import ConnectionPool

from keysat.errors import RateLimited
from keysat.settings import load_settings

_SERVER_SECONDS = 0.5


@cache
def _shared() -> FixedWindowRateLimiter:
    url = load_settings().broker_url.replace("redis+socket://", "unix://", 1)
    pool = ConnectionPool.from_url(url, socket_timeout=_SERVER_SECONDS, socket_connect_timeout=_SERVER_SECONDS)
    return FixedWindowRateLimiter(RedisStorage(url, connection_pool=pool, wrap_exceptions=True))


class _Window:
    """A rate's present window in this process: who asked how often since it began."""

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
def _own(rate: str) -> _Window:
    return _Window(_rule(rate))


@cache
def _rule(text: str) -> RateLimitItem:
    return parse(text)


def admit(rate: str, *who: str) -> None:
    """Count a request against a rate such as "30/minute".

    Raises:
        RateLimited: it is one too many.
    """
    rule = _rule(rate)
    try:
        limiter = _shared()
        admitted = limiter.hit(rule, *who)
    except StorageError:
        _own(rate).admit(who)
        return
    if not admitted:
        raise RateLimited(_wait(limiter, rule, who))


def _wait(limiter: FixedWindowRateLimiter, rule: RateLimitItem, who: tuple[str, ...]) -> int:
    try:
        reset = limiter.get_window_stats(rule, *who).reset_time
    except StorageError:
        return rule.get_expiry()
    return max(1, math.ceil(reset - time.time()))


def client_address(request: Request) -> str:
    """Who asks: an IPv4 address, or the /64 network of an IPv6 one, of which a single host has plenty."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(IPv6Address(int(address) >> 64 << 64))
    return host


def limit_purchases(request: Request) -> None:
    """A dependency: count a purchase or redemption."""
    admit(load_settings().rate_purchase, "purchase", client_address(request))


def limit_validations(request: Request) -> None:
    """A dependency: count a validation, a machine call or a poll."""
    _own(load_settings().rate_validate).admit(("validate", client_address(request)))


def limit_webhooks(account: str) -> None:
    """Count a webhook of a provider account."""
    admit(load_settings().rate_webhook, "webhook", account)
