"""Structured logs: one line an event, with the task and the invoice it is about, and no secrets."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from keysat.settings import Settings

_SECRET_NAME = re.compile(r"api_?key|token|secret|password|credential|authorization|license_key|bolt11", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"LIC1-[A-Z2-7]+-[A-Z2-7]+|(?<=://)[^/@\s:]*:[^@\s/]+(?=@)", re.IGNORECASE)

Event = MutableMapping[str, Any]


def redact(_logger: object, _method: str, event: Event) -> Event:
    """Blot out values whose name says secret, license keys, and passwords inside URLs."""
    for name, value in event.items():
        if _SECRET_NAME.search(name):
            event[name] = "[redacted]"
        elif isinstance(value, str):
            event[name] = _SECRET_VALUE.sub("[redacted]", value)
    return event


def configure_logs(settings: Settings) -> None:
    """Send this process's log lines, ours and the libraries', to stderr in the configured format."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    json_lines = settings.log_format == "json"
    renderer: Any = (
        structlog.processors.JSONRenderer() if json_lines else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    render = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact]
    if json_lines:
        render.append(structlog.processors.format_exc_info)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[*render, redact, renderer])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    # They announce each received and finished task; our own lines say what came of it.
    for chatty in ("celery.worker.strategy", "celery.app.trace", "urllib3", "alembic"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
