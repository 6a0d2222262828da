"""The API's description as cases for tests: each route, with a path to a row of the tests' shop."""

import pytest
from sqlalchemy import func, select

from keysat.core.db import Base, reading
from keysat.web.app import create_app

NOWHERE = "01a21076-4515-7464-8cda-93e2d050f870"
FILLED_IN = {"slug": "editor", "policy": "standard", "name": "main", "code": "GIFT", "kind": "fake", "token": "t"}
DESCRIBED = create_app().openapi()
SQL = "'; DROP TABLE invoices; --"
HTML = "<script>alert(1)</script>"
TEXTS = [SQL, HTML, "%s %(id)s {0} \\ \u202e \u00fcn\u00efc\u00f6d\u00e9 \U0001f511"]


def operations(*methods):
    """Every route of these methods, as (method, path, its description)."""
    for path, of in DESCRIBED["paths"].items():
        filled_in = path
        for part in path.split("{")[1:]:
            name = part.split("}")[0]
            filled_in = filled_in.replace("{" + name + "}", FILLED_IN.get(name, NOWHERE))
        for method, operation in of.items():
            if method.upper() in methods:
                yield pytest.param(method.upper(), filled_in, operation, id=f"{method} {path}")


def name_of(operation):
    """The name of a body's schema."""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    refs = [choice["$ref"] for choice in schema.get("anyOf", [schema]) if "$ref" in choice]  # a body may be left out
    return refs[0].rpartition("/")[2]


def schema_of(operation):
    """The JSON Schema of a route's body, or None where it takes none."""
    return DESCRIBED["components"]["schemas"][name_of(operation)] if "requestBody" in operation else None


WRITING = list(operations("POST", "PUT", "PATCH", "DELETE"))
WITH_BODY = [case for case in WRITING if schema_of(case.values[2]) is not None]
ADMIN = [case for case in operations("GET", "POST", "PUT", "PATCH", "DELETE") if "/v1/admin/" in case.values[1]]


COUNTS = select(
    *(
        select(func.count()).select_from(table).scalar_subquery().label(table.name)
        for table in Base.metadata.sorted_tables
    )
)


def rows():
    """The number of rows of each table. The use of a key is no change."""
    with reading() as session:
        return dict(session.execute(COUNTS).one()._mapping)
