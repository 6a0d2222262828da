"""Structured logs: one line an event, with the task and the invoice it is about, and no secrets."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from keysat.core.settings import Settings
from keysat.core.texts import printable

_SECRET_NAME = re.compile(r"api_?key|token|secret|password|credential|authorization|license_key|bolt11", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"LIC1-[A-Z2-7]+-[A-Z2-7]+|(?<=://)[^/\s]+(?=@)", re.IGNORECASE)
_PLAIN = (bool, int, float, type(None))

Event = MutableMapping[str, Any]


def redact(_logger: object, _method: str, event: Event) -> Event:
    """Blot out values whose name says secret, license keys, and passwords inside URLs."""
    for name, value in event.items():
        event[name] = _blot_out(name, value)
    return event


def _blot_out(name: str, value: Any) -> Any:
    if _SECRET_NAME.search(name):
        return "[redacted]"
    if isinstance(value, Mapping):
        return {key: _blot_out(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_blot_out("", inner) for inner in value]
    return value if isinstance(value, _PLAIN) else _SECRET_VALUE.sub("[redacted]", str(value))


def make_harmless(_logger: object, _method: str, event: Event) -> Event:
    """Put a mark in place of what acts upon a terminal, line by line: tracebacks have several."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = "\n".join(map(printable, value.split("\n")))
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
    # A traceback becomes text before it is redacted; drawn by the renderer, it would show the frames' variables.
    render: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redact,
        *([] if json_lines else [make_harmless]),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[*render, renderer]))
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
