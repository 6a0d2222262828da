"""The faults that a test configures, and the selection of those that hit a request."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keysat.core.errors import InvalidInput
from keysat.sandbox.fields import Fields

_SCOPE = ("kind", "store", "method", "path_prefix", "times", "probability")
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "latency": ("seconds",),
    "status": ("status", "retry_after", "body", "executed"),
    "hang": ("seconds",),
    "drip": ("seconds_per_byte", "part"),
    "cut": (),
    "garbage": (),
    "wrong_json": ("body",),
    "huge": ("bytes",),
    "redirect": ("location",),
    "rewrite": ("fields", "remove"),
}
_MAX_HUGE = 2**32


@dataclass(frozen=True)
class Fault:
    """One configured fault: its kind, the requests it applies to and its max uses (None: all), and its parameters."""

    kind: str
    store: str | None
    method: str | None
    path_prefix: str
    times: int | None
    probability: float
    parameters: Mapping[str, Any]

    def fits(self, method: str, path: str, store: str | None) -> bool:
        return (
            (self.store is None or self.store == store)
            and (self.method is None or self.method == method)
            and path.startswith(self.path_prefix)
        )

    @property
    def refuses(self) -> bool:
        """Whether the request is refused without being executed."""
        return self.kind == "redirect" or (self.kind == "status" and not self.parameters["executed"])


@dataclass
class Mishap:
    """The faults of one request: a wait in seconds, changes of the response, and at most one final fault."""

    wait: float = 0.0
    fields: dict[str, Any] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    last: Fault | None = None


class FaultPlan:
    """The configured faults, in order. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.replace([], None)

    def replace(self, faults: Sequence[Fault], seed: int | None) -> None:
        """Replace all faults. `seed` makes their random choices repeatable."""
        with self._lock:
            self._faults = list(faults)
            self._left = [fault.times for fault in faults]
            self._random = random.Random(seed)  # noqa: S311 - chances of faults, no secrets

    def strike(self, method: str, path: str, store: str | None) -> Mishap:
        """Select the faults of a request. Waits and changes accumulate. The first fault of another kind is final."""
        mishap = Mishap()
        with self._lock:
            for index, fault in enumerate(self._faults):
                if not (fault.fits(method, path, store) and self._takes(index)):
                    continue
                if fault.kind == "latency":
                    mishap.wait += fault.parameters["seconds"]
                elif fault.kind == "rewrite":
                    mishap.fields.update(fault.parameters["fields"])
                    mishap.removed.update(fault.parameters["remove"])
                else:
                    mishap.last = fault
                    break
        return mishap

    def _takes(self, index: int) -> bool:
        left = self._left[index]
        if left == 0 or self._random.random() >= self._faults[index].probability:
            return False
        if left is not None:
            self._left[index] = left - 1
        return True


def parse_faults(value: object) -> tuple[list[Fault], int | None]:
    """Read `{"faults": [...], "seed"?: n}`.

    Raises:
        InvalidInput: a fault is malformed, or has a field that its kind doesn't have.
    """
    fields = Fields(value, "the request", ("faults", "seed"))
    seed = fields.whole("seed") if fields.has("seed") else None
    return [_parse(item) for item in fields.items("faults")], seed


def _parse(item: object) -> Fault:
    kind = item.get("kind") if isinstance(item, dict) else None
    if not isinstance(kind, str) or kind not in _PARAMETERS:
        raise InvalidInput(f"a fault needs a kind: {', '.join(_PARAMETERS)}.")
    fields = Fields(item, f"the fault {kind}", (*_SCOPE, *_PARAMETERS[kind]))
    method = fields.text_or_none("method")
    return Fault(
        kind=kind,
        store=fields.text_or_none("store"),
        method=method.upper() if method else None,
        path_prefix=fields.text_or_none("path_prefix") or "",
        times=fields.whole("times") if fields.has("times") else None,
        probability=fields.number("probability", 1.0, maximum=1.0),
        parameters=_parameters(kind, fields),
    )


def _parameters(kind: str, fields: Fields) -> dict[str, Any]:
    if kind in {"latency", "hang"}:
        return {"seconds": fields.number("seconds", maximum=86_400)}
    if kind == "drip":
        part = fields.any("part", "body")
        if part not in {"headers", "body"}:
            raise InvalidInput("'part' of the fault drip has to be headers or body.")
        return {"seconds_per_byte": fields.number("seconds_per_byte", maximum=86_400), "part": part}
    if kind == "status":
        return _status(fields)
    if kind == "rewrite":
        return _rewrite(fields)
    if kind == "huge":
        return {"bytes": fields.whole("bytes", maximum=_MAX_HUGE)}
    if kind == "redirect":
        return {"location": _header(fields.text("location"))}
    return {"body": fields.any("body", {"result": "ok"})}


def _status(fields: Fields) -> dict[str, Any]:
    retry_after = fields.any("retry_after")
    if isinstance(retry_after, bool) or not isinstance(retry_after, int | str | None):
        raise InvalidInput("'retry_after' of the fault status has to be whole seconds or an HTTP date.")
    status = fields.whole("status", minimum=200, maximum=599)
    default = {"code": "sandbox-fault", "message": f"The sandbox is set to respond with {status}."}
    return {
        "status": status,
        "retry_after": None if retry_after is None else _header(str(retry_after)),
        "body": fields.any("body", default),
        "executed": fields.flag("executed"),
    }


def _rewrite(fields: Fields) -> dict[str, Any]:
    changes, removed = fields.any("fields", {}), fields.items("remove")
    if not isinstance(changes, dict) or not all(isinstance(name, str) for name in removed):
        raise InvalidInput("the fault rewrite needs an object 'fields', or a list 'remove' of names.")
    return {"fields": changes, "remove": removed}


def _header(value: str) -> str:
    if not value.isprintable():
        raise InvalidInput(f"{value!r} can't be the value of a header.")
    return value
