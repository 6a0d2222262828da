"""Counters and durations for Prometheus, collected from all of Keysat's processes.

Workers and web servers write to one directory, each process to its own file. A new process takes over the file of one
that has ended, so the number of files is bounded. The web server adds them up on request. If `record` was not called,
as on the command line, metrics stay in memory and are lost. A failure of the files never affects a request or a task.
Metrics are then counted in memory and written once that works again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, values
from prometheus_client.registry import Collector

from keysat.core.errors import CallFailed
from keysat.core.metric_values import Store, Totals

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WAITS = (0.1, 0.5, 1, 5, 15, 30, 60, 120, 300, 900, 3_600, 21_600)
_registry = CollectorRegistry()
_store: Store | None = None

# All have labels. A metric without labels would be created in memory before `record` can be called.
reconciles = Counter("keysat_reconciles", "Checks at the provider, by outcome.", ["action"], registry=_registry)
provider_seconds = Histogram(
    "keysat_provider_seconds",
    "Seconds of calls to providers.",
    ["account", "call"],
    buckets=_SECONDS,
    registry=_registry,
)
provider_errors = Counter(
    "keysat_provider_errors", "Calls to providers without a usable response.", ["account", "kind"], registry=_registry
)
webhooks = Counter(
    "keysat_webhooks",
    "Webhooks from providers: stored, duplicate; or without an account, rejected.",
    ["account", "result"],
    registry=_registry,
)
deliveries = Counter(
    "keysat_deliveries", "Attempts to deliver outbound webhooks.", ["endpoint", "result"], registry=_registry
)
mails = Counter(
    "keysat_mails", "Attempts to send mail: sent, refused, failed, dropped.", ["kind", "result"], registry=_registry
)
licenses_issued = Counter("keysat_licenses_issued", "Licenses issued.", ["source"], registry=_registry)
payment_to_license = Histogram(
    "keysat_payment_to_license_seconds",
    "Seconds from the payment to the license; or from when it was found, if the provider reports no time.",
    ["source"],
    buckets=_WAITS,
    registry=_registry,
)
http_requests = Counter("keysat_http_requests", "HTTP requests.", ["route", "method", "status"], registry=_registry)


def record(directory: Path, program: str) -> None:
    """Write metrics to files in the directory from now on. `program` distinguishes this program's files from others.

    If writing fails, metrics are counted in memory, without any other effect.
    """
    global _store  # noqa: PLW0603 - it is the process's state, as the client library's own is
    _store = Store(directory, program)
    values.ValueClass = _store.value
    _store.open()


def exposition(*more: Collector) -> bytes:
    """Return all metrics, and those of the given collectors, in Prometheus's text format."""
    counted = _registry if _store is None else CollectorRegistry()
    if _store is not None:
        counted.register(Totals(_store, list(_registry.collect())))
    text = generate_latest(counted)
    for collector in more:
        own = CollectorRegistry()
        own.register(collector)
        text += generate_latest(own)
    return text


@contextmanager
def provider_call(account: str, call: str) -> Iterator[None]:
    """Time a call to a provider, and count it if it fails."""
    began = time.perf_counter()
    try:
        yield
    except CallFailed as error:
        provider_errors.labels(account, type(error).__name__).inc()
        raise
    finally:
        provider_seconds.labels(account, call).observe(time.perf_counter() - began)
