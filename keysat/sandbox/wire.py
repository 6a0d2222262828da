"""Requests and responses, and how a response is sent: in one piece, or as a fault specifies."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Protocol

from keysat.sandbox.faults import Fault

_CHUNK = 65_536
_BODILESS = {204, 304}


@dataclass(frozen=True)
class Request:
    """A request as a route sees it. `query` contains each parameter's values in order."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    authorization: str
    body: bytes


@dataclass(frozen=True)
class SandboxResponse:
    """A response before it is encoded. The payload is JSON, or bytes of the given `media_type`."""

    status: int
    payload: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json; charset=utf-8"


class Writer(Protocol):
    """The destination of the bytes."""

    def write(self, data: bytes, /) -> object:
        """Send all of `data`."""


def encode(answer: SandboxResponse) -> tuple[bytes, bytes]:
    """Return a response's head and body."""
    body = answer.payload if isinstance(answer.payload, bytes) else to_json(answer.payload)
    body = b"" if answer.status in _BODILESS else body
    return _head(answer, len(body)), body


def transmit(answer: SandboxResponse, fault: Fault | None, out: Writer, stopping: threading.Event) -> bool:
    """Send a response, changed by `fault`. Return whether the connection can be reused.

    Waits end early when `stopping` is set.
    """
    kind = fault.kind if fault else None
    parameters = fault.parameters if fault else {}
    if kind == "hang":
        stopping.wait(parameters["seconds"])
        return False
    if kind == "huge":
        _send_huge(parameters["bytes"], out)
        return True
    head, body = encode(answer)
    if kind == "cut":
        out.write(head + body[: len(body) // 2])
        return False
    if kind == "drip":
        return _drip(head, body, parameters, out, stopping)
    out.write(head + body)
    return True


def replaced(answer: SandboxResponse, fault: Fault) -> SandboxResponse:
    """Return the response that a fault substitutes. Most kinds of fault leave the response unchanged."""
    parameters = fault.parameters
    if fault.kind == "status":
        retry_after = parameters["retry_after"]
        return SandboxResponse(
            parameters["status"], parameters["body"], {} if retry_after is None else {"Retry-After": retry_after}
        )
    if fault.kind == "redirect":
        return SandboxResponse(302, {}, {"Location": parameters["location"]})
    if fault.kind == "garbage":
        return SandboxResponse(200, b"<html><body>It works!</body></html>", media_type="text/html")
    if fault.kind == "wrong_json":
        return SandboxResponse(200, parameters["body"])
    return answer


def rewritten(answer: SandboxResponse, fields: Mapping[str, Any], removed: set[str]) -> SandboxResponse:
    """Change the invoice, or each invoice of a list, in a successful response, also inside `data`."""
    if isinstance(answer.payload, dict) and set(answer.payload) == {"data"}:
        inner = rewritten(replace(answer, payload=answer.payload["data"]), fields, removed)
        return replace(answer, payload={"data": inner.payload})
    many = isinstance(answer.payload, list)
    items = answer.payload if many else [answer.payload]
    if answer.status != 200 or not all(isinstance(item, dict) for item in items):
        return answer
    changed = [{k: v for k, v in {**item, **fields}.items() if k not in removed} for item in items]
    return SandboxResponse(200, changed if many else changed[0])


def _head(answer: SandboxResponse, length: int) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {_reason(answer.status)}",
        f"Content-Type: {answer.media_type}",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
    ]
    if answer.status not in _BODILESS:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Sandbox"


def to_json(payload: Any) -> bytes:
    """Encode as JSON without spaces."""
    # Only a merchant's own metadata contains Decimals. Amounts are strings.
    return json.dumps(payload, default=_number, separators=(",", ":")).encode()


def _number(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(type(value).__name__)


def _drip(head: bytes, body: bytes, parameters: Mapping[str, Any], out: Writer, stopping: threading.Event) -> bool:
    slow, rest = (head, body) if parameters["part"] == "headers" else (body, b"")
    if slow is body:
        out.write(head)
    for index in range(len(slow)):
        if stopping.wait(parameters["seconds_per_byte"]):
            return False
        out.write(slow[index : index + 1])
    out.write(rest)
    return True


def _send_huge(size: int, out: Writer) -> None:
    start, end = b'{"id":"', b'"}'
    filling = max(0, size - len(start) - len(end))
    out.write(_head(SandboxResponse(200), filling + len(start) + len(end)) + start)
    for part in _parts(filling):
        out.write(part)
    out.write(end)


def _parts(size: int) -> Iterator[bytes]:
    chunk = b"a" * _CHUNK
    for start in range(0, size, _CHUNK):
        yield chunk[: size - start]
