"""Rate limits, shared by all web processes through the broker's server; each process's own while that is away."""

from __future__ import annotations

import math
import time
from functools import cache
from ipaddress import IPv6Address, ip_address

from fastapi import Request
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from keysat.errors import RateLimited
from keysat.settings import load_settings

_SERVER_SECONDS = 0.5


@cache
def _shared() -> FixedWindowRateLimiter:
    url = load_settings().broker_url.replace("redis+socket://", "redis+unix://", 1)
    timeouts = {"socket_timeout": _SERVER_SECONDS, "socket_connect_timeout": _SERVER_SECONDS}
    return FixedWindowRateLimiter(storage_from_string(url, wrap_exceptions=True, **timeouts))


@cache
def _own() -> FixedWindowRateLimiter:
    return FixedWindowRateLimiter(MemoryStorage())


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
        limiter = _own()
        admitted = limiter.hit(rule, *who)
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
    admit(load_settings().rate_validate, "validate", client_address(request))


def limit_webhooks(account: str) -> None:
    """Count a webhook of a provider account."""
    admit(load_settings().rate_webhook, "webhook", account)
