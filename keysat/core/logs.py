"""Structured logs: one line per event, with its task and invoice, and without secrets."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

from keysat.core.settings import Settings
from keysat.core.texts import printable


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Let a library be absent for imports within the block, unless it was imported before."""
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    absent = modules.setdefault(name, None) is None
    try:
        yield
    finally:
        if absent:
            del modules[name]


# It would import rich for the tracebacks of its own, which aren't used here: 7 MB and a tenth of a second per process.
with _without("rich"):
    import structlog

_SECRET_NAME = re.compile(r"api_?key|token|secret|password|credential|authorization|license_key|bolt11", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"LIC1-[A-Z2-7]+-[A-Z2-7]+|(?<=://)[^/\s]+(?=@)", re.IGNORECASE)
_PLAIN = (bool, int, float, type(None))

Event = MutableMapping[str, Any]


def redact(_logger: object, _method: str, event: Event) -> Event:
    """Redact values with a secret's name, license keys, and passwords in URLs."""
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
    """Replace characters that act upon a terminal, line by line, because tracebacks have several lines."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = "\n".join(map(printable, value.split("\n")))
    return event


def configure_logs(settings: Settings) -> None:
    """Send this process's log lines, including those of libraries, to stderr in the configured format."""
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
    # A traceback becomes text before it is redacted. The renderer would show the frames' variables.
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
    # These log each received and finished task. Our own lines report its outcome.
    for chatty in ("celery.worker.strategy", "celery.app.trace", "urllib3", "alembic"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def bind_to_logs(**fields: str) -> None:
    """Replace the fields that each log line of this context has, such as the task's name and the invoice's id."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**fields)
