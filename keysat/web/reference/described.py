"""Complete the API's description: what each field means, and an example of each request and response."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from keysat.queue.outbox import EventType
from keysat.webhooks.samples import AT, sample

Node = dict[str, Any]
_REF = "#/components/schemas/"
_BY_TYPE: Mapping[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "object": {}, "array": []}


def complete(described: Node) -> None:
    """Add meanings and examples to an OpenAPI description, where it has none."""
    schemas: dict[str, Node] = described["components"]["schemas"]
    for model, schema in schemas.items():
        for name, field in schema.get("properties", {}).items():
            _explain(field, "fields", f"{model}.{name}", name)
    for operation in _operations(described["paths"]):
        for parameter in operation.get("parameters", []):
            _explain(parameter, "parameters", parameter["name"])
        for content in _contents(operation):
            content.setdefault("example", _example(schemas, content["schema"]))
    for event, path in described["webhooks"].items():
        envelope = {"event_type": event, "timestamp": AT, "data": _sample(EventType(event))}
        path["post"]["requestBody"]["content"]["application/json"]["example"] = envelope


def _sample(event_type: EventType) -> Node:
    return {name: value for name, value in sample(event_type).items() if name != "sample"}


def _operations(paths: dict[str, Node]) -> Iterator[Node]:
    for path in paths.values():
        yield from path.values()


def _contents(operation: Node) -> Iterator[Node]:
    """Return the JSON contents of an operation's request and of its successful responses."""
    holders = [operation.get("requestBody", {})]
    holders += [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    for holder in holders:
        content = holder.get("content", {}).get("application/json")
        if content is not None and content.get("schema"):
            yield content


def _explain(node: Node, section: str, *names: str) -> None:
    known = next((_glossary()[section][name] for name in names if name in _glossary()[section]), None)
    if known is None:
        return
    meaning, *examples = known
    if "description" not in node.get("schema", {}):
        node.setdefault("description", meaning)
    if examples and section == "fields":
        node.setdefault("examples", examples)


def _example(schemas: dict[str, Node], schema: Node) -> Any:
    """Return an example of a schema, made of those of its fields. Without one, a field that may be missing is."""
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return _example(schemas, schemas[schema["$ref"].removeprefix(_REF)])
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if "anyOf" in schema:
        return _example(schemas, schema["anyOf"][0])
    if "properties" in schema:
        needed = schema.get("required", [])
        shown = {name: field for name, field in schema["properties"].items() if name in needed or "examples" in field}
        return {name: _example(schemas, field) for name, field in shown.items()}
    if "items" in schema:
        return [_example(schemas, schema["items"])]
    return _BY_TYPE.get(schema.get("type", "object"))


@cache
def _glossary() -> dict[str, dict[str, list[Any]]]:
    return tomllib.loads(files("keysat.web.reference").joinpath("glossary.toml").read_text(encoding="utf-8"))
