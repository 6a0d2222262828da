"""Keysat: every paid invoice becomes exactly one software license."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the Celery app on first use, because that takes a second. `celery -A keysat` uses `keysat.app`."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    return import_module("keysat.worker").app
