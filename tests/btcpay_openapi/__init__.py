"""BTCPay's own API description as JSON Schema validators, with the repairs that README.md names.

OpenAPI 3.0 is not quite JSON Schema: `nullable` becomes a choice with null, `format: decimal` and `int32` are checked,
and `additionalProperties: false`, which contradicts itself under `allOf`, becomes `unevaluatedProperties: false` on the
whole: unknown fields are still found.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

_REFS = "#/components/schemas/"
_OPEN = ".open"
_FOLDER = Path(__file__).parent
_IGNORED = {"additionalProperties", "nullable", "allOf", "description", "example", "default", "discriminator"}

formats = FormatChecker(formats=())


@formats.checks("decimal")
def _is_decimal(value: object) -> bool:
    return not isinstance(value, str) or re.fullmatch(r"-?\d+(\.\d+)?", value) is not None


@formats.checks("int32")
def _is_whole(value: object) -> bool:
    return not isinstance(value, float)


@cache
def _documents() -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(path.read_text()) for path in sorted(_FOLDER.glob("*.json")))


@cache
def _schemas() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for document in _documents():
        found |= document.get("components", {}).get("schemas", {})
    return found


@cache
def _definitions() -> dict[str, Any]:
    return {name: _closed(schema) for name, schema in _schemas().items()} | {
        name + _OPEN: _open(schema) for name, schema in _schemas().items()
    }


def validator(schema_name: str) -> Draft202012Validator:
    """Validate against a component, such as `InvoiceData`. Raises KeyError when there is none of that name."""
    if schema_name not in _schemas():
        raise KeyError(schema_name)
    return _validator({"$ref": f"{_REFS}{schema_name}"})


def operation_request_schema(method: str, path: str) -> dict[str, Any]:
    """Return the JSON Schema of a call's body. Raises KeyError for an unknown call.

    `path` is BTCPay's template or a real path. The schema is complete in itself:
    `Draft202012Validator(schema, format_checker=formats)`.
    """
    return _body_schema(_operation(method, path))


def request_validator(method: str, path: str) -> Draft202012Validator:
    """Validate a call's body against `operation_request_schema`."""
    return Draft202012Validator(operation_request_schema(method, path), format_checker=formats)


def webhook_validator(event_type: str) -> Draft202012Validator:
    """Validate a webhook's body by its type, such as `InvoiceSettled`."""
    hooks = next(document["x-webhooks"] for document in _documents() if "x-webhooks" in document)
    return Draft202012Validator(_body_schema(hooks[event_type]["post"]), format_checker=formats)


def _operation(method: str, path: str) -> dict[str, Any]:
    for document in _documents():
        for template, operations in document["paths"].items() if "paths" in document else ():
            pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
            if path == template or re.fullmatch(pattern, path):
                operation: dict[str, Any] | None = operations.get(method.lower())
                if operation is not None:
                    return operation
    raise KeyError(f"{method} {path}")


def _body_schema(operation: dict[str, Any]) -> dict[str, Any]:
    return _complete(operation["requestBody"]["content"]["application/json"]["schema"])


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(_complete(schema), format_checker=formats)


def _complete(schema: dict[str, Any]) -> dict[str, Any]:
    return {**_closed(schema), "$defs": _definitions()}


def _is_closed(schema: dict[str, Any]) -> bool:
    if "$ref" in schema:
        return _is_closed(_schemas()[schema["$ref"].removeprefix(_REFS)])
    return schema.get("additionalProperties") is False or any(_is_closed(part) for part in schema.get("allOf", []))


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return {"$ref": "#/$defs/" + schema["$ref"].removeprefix(_REFS)}
    ends = {"unevaluatedProperties": False} if _is_closed(schema) else {}
    return _nullable(schema, _open(schema) | ends)


def _nullable(schema: dict[str, Any], translated: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "null"}, translated]} if schema.get("nullable") else translated


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """Translate a schema, leaving room for the fields of the others that it is combined with."""
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{schema['$ref'].removeprefix(_REFS)}{_OPEN}"}
    result = {name: _translate(name, value) for name, value in schema.items() if name not in _IGNORED}
    if "allOf" in schema:
        result["allOf"] = [_open(part) for part in schema["allOf"]]
    return result


def _translate(name: str, value: Any) -> Any:
    if name == "properties":
        return {field: _closed(schema) for field, schema in value.items()}
    if name == "items":
        return _closed(value)
    if name in {"anyOf", "oneOf"}:
        return [_open(schema) for schema in value]
    return value
