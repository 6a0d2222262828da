"""Liveness, readiness and metrics of this process: for supervisors and Prometheus, not for the internet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import Any, Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel
from redis import Redis

from keysat import migrations
from keysat.core import metrics
from keysat.core.db import DATABASE, reading
from keysat.core.errors import KeysatError
from keysat.core.logs import get_logger
from keysat.core.settings import load_settings
from keysat.licenses.signer import installed_signer
from keysat.operations.status import Status, read_status
from keysat.web.errors import Problem, problem

router = APIRouter(tags=["health"])
log = get_logger(__name__)

CHECK_SECONDS = 2.0
_STATUS_SECONDS = 5.0
_READY_SECONDS = 0.2
_checkers = ThreadPoolExecutor(4, thread_name_prefix="readiness")
# Separate threads, so that the other routes keep working while these wait for an unresponsive service.
_askers = ThreadPoolExecutor(1, thread_name_prefix="ready")
_scrapers = ThreadPoolExecutor(1, thread_name_prefix="metrics")


class Alive(BaseModel):
    """This process is alive."""

    ok: Literal[True] = True


class Ready(Alive):
    """All dependencies are available."""

    checks: dict[str, Literal["ok"]]


@router.get("/livez")
async def livez() -> Alive:
    """Report that the process is alive, independent of its dependencies."""
    return Alive()


@router.get("/readyz", response_model=Ready, responses={503: {"model": Problem, "description": "not ready"}})
async def readyz() -> Any:
    """Check database, schema, signing key and broker, within two seconds."""
    missing = await asyncio.wrap_future(_askers.submit(_readiness.read))
    if missing:
        return problem(503, f"not ready: {', '.join(missing)}.")
    return Ready(checks=dict.fromkeys(_CHECKS, "ok"))


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics_() -> Response:
    """Return all metrics in Prometheus's text format."""
    text = await asyncio.wrap_future(_scrapers.submit(metrics.exposition, _status_collector))
    return Response(text, media_type=CONTENT_TYPE_LATEST)


class Readiness:
    """Cached readiness. Requests during a check or right after it share its result."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._missing: dict[str, str] = {}
        self._read_at = -CHECK_SECONDS

    def read(self) -> dict[str, str]:
        """Return the failed checks, each with its reason."""
        with self._lock:
            if time.monotonic() - self._read_at > _READY_SECONDS:
                running = {name: _checkers.submit(check) for name, check in _CHECKS.items()}
                wait(running.values(), CHECK_SECONDS)
                troubles = {name: _trouble(future) for name, future in running.items()}
                self._missing = {name: trouble for name, trouble in troubles.items() if trouble is not None}
                if self._missing:
                    log.warning("not ready", **self._missing)
                self._read_at = time.monotonic()
            return self._missing


_readiness = Readiness()


def _database() -> None:
    with reading() as session:
        session.connection()


def _signing_key() -> None:
    installed_signer(DATABASE)


def _broker() -> None:
    url = load_settings().broker_url.replace("redis+socket://", "unix://", 1)
    with Redis.from_url(url, socket_timeout=CHECK_SECONDS, socket_connect_timeout=CHECK_SECONDS) as client:
        client.ping()


_CHECKS: dict[str, Callable[[], None]] = {
    "database": _database,
    "schema": migrations.require_head,
    "signing key": _signing_key,
    "broker": _broker,
}


def _trouble(check: Future[None]) -> str | None:
    if not check.done():
        check.cancel()
        return f"no response within {CHECK_SECONDS:g} s"
    error = check.exception()
    return None if error is None else str(error)


_COUNTS = {
    "due": "Invoices to check now.",
    "late": "Invoices that no scan took for two minutes.",
    "review": "Invoices that wait for a person.",
    "unfulfilled": "Settled invoices without a license.",
    "overdue_licenses": "The same for over two minutes.",
    "failing": "Invoices without a usable response lately.",
    "pending": "Invoices that wait for their payment.",
}


class StatusCollector(Collector):
    """Collects the status from the database, at most every few seconds."""

    def __init__(self) -> None:
        self._status: Status | None = None
        self._read_at = 0.0

    def describe(self) -> Iterator[Metric]:
        """Return nothing, as registering must not query the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the numbers of `keysat status`. Without a database, yield only `keysat_up` 0."""
        try:
            status = self._fresh()
        except KeysatError:
            yield GaugeMetricFamily("keysat_up", "Whether the database responds.", 0)
            return
        yield GaugeMetricFamily("keysat_up", "Whether the database responds.", 1)
        for name, help_text in _COUNTS.items():
            yield GaugeMetricFamily(f"keysat_invoices_{name}", help_text, getattr(status.backlog, name))
        family = GaugeMetricFamily(
            "keysat_invariant_breaches", "Cases in which what must always be true isn't.", labels=["invariant"]
        )
        for invariant, count in status.breach_counts.items():
            family.add_metric([invariant], count)
        yield family
        for name, about in (("paused_at", "paused"), ("open_until", "resting")):
            family = GaugeMetricFamily(
                f"keysat_account_{about}", f"Whether a provider account is {about}.", labels=["account"]
            )
            for account in status.backlog.accounts:
                family.add_metric([account.name], getattr(account, name) is not None)
            yield family

    def _fresh(self) -> Status:
        if self._status is None or time.monotonic() - self._read_at > _STATUS_SECONDS:
            with reading() as session:
                self._status = read_status(session, load_settings().scan_seconds)
            self._read_at = time.monotonic()
        return self._status


_status_collector = StatusCollector()
