"""The API's reference: each field is explained, each operation has an example that fits, and each event a schema."""

import re

import jsonschema
import pytest

from keysat.queue.outbox import WITH_KEY, EventType
from keysat.webhooks.samples import sample
from tests.web.described import DESCRIBED
from tests.web.pages.conftest import browser  # noqa: F401 - a fixture

SCHEMAS = DESCRIBED["components"]["schemas"]
OPERATIONS = [
    pytest.param(operation, id=f"{method} {path}")
    for path, of in DESCRIBED["paths"].items()
    for method, operation in of.items()
]


def check(example, schema):
    jsonschema.Draft202012Validator({**schema, "components": DESCRIBED["components"]}).validate(example)


def json_of(holder):
    return holder.get("content", {}).get("application/json")


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_is_explained(name):
    fields = SCHEMAS[name].get("properties", {})
    assert [field for field, about in fields.items() if not about.get("description")] == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_is_explained_with_examples_that_fit(operation):
    assert operation["description"]
    for parameter in operation.get("parameters", []):
        assert parameter.get("description") or parameter["schema"].get("description"), parameter["name"]
    holders = [operation.get("requestBody", {}), *operation["responses"].values()]
    contents = [content for content in map(json_of, holders) if content and "example" in content]
    for content in contents:
        check(content["example"], content["schema"])
    succeeded = [json_of(answer) for status, answer in operation["responses"].items() if status.startswith("2")]
    assert contents or not any(content and content.get("schema") for content in succeeded)
    if json_of(operation.get("requestBody", {})):
        assert "example" in json_of(operation["requestBody"])


@pytest.mark.parametrize("event_type", EventType)
def test_every_event_has_a_schema_that_its_sample_fits(event_type):
    content = json_of(DESCRIBED["webhooks"][event_type]["post"]["requestBody"])
    check(content["example"], content["schema"])
    envelope = SCHEMAS[content["schema"]["$ref"].rpartition("/")[2]]
    data = SCHEMAS[envelope["properties"]["data"]["$ref"].rpartition("/")[2]]
    check({**content["example"], "data": sample(event_type)}, content["schema"])
    key = {"license_key"} if event_type in WITH_KEY else set()
    assert set(data["properties"]) == set(sample(event_type)) | key


@pytest.mark.servers
def test_page_loads_nothing_from_elsewhere(browser):  # noqa: F811 - a fixture
    page = browser.get("/docs")
    assert page.status_code == 200
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    links = re.findall(r'(?:src|href|data-description)="([^"]+)"', page.text)
    assert len(links) == 6
    for link in links:
        assert link.startswith("/")
        assert browser.get(link).status_code == 200
    assert browser.get("/docs/nothing.js").status_code == 404
