"""The OpenAPI description is true: what fits it is taken, what doesn't is refused, and nothing ends in a 500."""

import itertools
from collections import Counter
from unittest.mock import ANY

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi_checks
from sqlalchemy import func, select

from keysat.codes.manage import NewCode, add_code
from keysat.core.db import transaction
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.models import WebhookDelivery
from keysat.models.api_key import Scope
from keysat.models.discount_code import CodeKind
from keysat.operations.api_keys import create_key
from keysat.queue.outbox import EventType, emit
from keysat.sales.grant import grant
from keysat.web.state import signer
from keysat.webhooks.endpoints import add_endpoint
from tests.builders import make_invoice, make_shop

pytestmark = pytest.mark.servers
SEED = 20_261_125
EXAMPLES = 8
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
]
# What fits the description may be refused there still, since fields depend on each other or on the provider's kind.
# Programs get 200 and a reason for every request.
NEVER_REFUSED = {"POST /v1/validate"}
RULES_BEYOND_THE_DESCRIPTION = {
    "POST /v1/purchase",  # a blank text is an absent one
    "POST /v1/redeem",
    "POST /v1/renew",
    "POST /v1/subscriptions/cancel",
    "POST /v1/machines/activate",
    "POST /v1/machines/heartbeat",
    "POST /v1/machines/deactivate",
    "POST /v1/admin/products",  # a name of invisible characters is empty
    "PATCH /v1/admin/accounts/{name}",
    "POST /v1/admin/codes",
    "PATCH /v1/admin/codes/{code}",  # policies of the product, uses that are taken, times to come
    "PATCH /v1/admin/products/{slug}",
    "POST /v1/admin/accounts",
    "POST /v1/admin/endpoints",
    "POST /v1/admin/products/{slug}/policies",
    "PATCH /v1/admin/products/{slug}/policies/{policy}",
    "GET /v1/admin/report",
    "PATCH /v1/admin/endpoints/{name}",
}
# As above, but only for these fields. The rest of such a request is sent again without them, and has to be accepted.
RULES_OF_FIELDS = {"PATCH /v1/admin/licenses/{license_id}": {"expires_at"}}  # the years that a key can hold


@pytest.fixture(scope="module")
def schema(web_url):
    """The description without its examples, which name servers of others. `test_reference.py` checks them."""
    loaded = schemathesis.openapi.from_url(f"{web_url}/openapi.json", timeout=120)
    drop_examples(loaded.raw_schema)
    return loaded


def drop_examples(node):
    for name in ("example", "examples") if isinstance(node, dict) else ():
        node.pop(name, None)
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        drop_examples(inner)


def test_description_names_every_route_and_its_errors(api):
    described = api.get("/openapi.json").json()
    operations = {
        (method, path): operation for path, of in described["paths"].items() for method, operation in of.items()
    }
    assert len(operations) > 50
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)
    for (method, path), operation in operations.items():
        assert "422" not in operation["responses"], path
        if path.startswith("/v1/admin"):
            assert {"401", "403"} <= set(operation["responses"]), path
            assert operation["security"], path
        if method != "get" and path.startswith("/v1"):
            assert "400" in operation["responses"], path


class AnyKey(dict):
    """A provider that accepts every key, so no made-up key causes its refusal."""

    def get(self, *_):
        return ANY


@pytest.fixture
def existing(empty_database, fake):
    """Rows for the paths: by the names of the path's parameters."""
    make_shop()
    fake.api_keys = AnyKey()
    invoice = make_invoice(status="settled", settled_at=func.now())
    with transaction() as session:
        add_code(session, NewCode("GIFT", CodeKind.FREE_LICENSE), actor="cli")
        add_endpoint(session, secret_box(load_settings()), "main", "https://shop.example.com/hooks", actor="cli")
        emit(session, EventType.TIP_SENT, {})
        owed = session.scalars(select(WebhookDelivery.id)).one()
        row = grant(session, "editor", None, "for the test", signer().key_id, "cli")
    return {
        "slug": "editor",
        "policy": "standard",
        "code": "gift",
        "name": "main",
        "invoice_id": str(invoice.id),
        "license_id": str(row.id),
        "account_id": str(invoice.provider_account_id),
        "kind": "fake",
        "delivery_id": str(owed),
    }


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
def test_api_survives_generated_requests(schema, existing, mode):
    """No generated request breaks the API or contradicts its description."""
    with transaction() as session:
        headers = {"Authorization": f"Bearer {create_key(session, 'tests', Scope.WRITE, actor='cli')}"}
    answers = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.POSITIVE or can_be_wrong(operation):
            answers.update(try_out(operation, headers, existing, mode))
    assert answers.total() > 500
    assert answers[200] > 100 if mode is GenerationMode.POSITIVE else answers[400] > 300


def can_be_wrong(operation):
    """Whether the description leaves anything that a request could get wrong."""
    return bool(operation.body) or any(parameter.name != "code" for parameter in operation.path_parameters)


def try_out(operation, headers, existing, mode):
    """Send a number of requests, every other one about existing rows. Returns the statuses."""
    statuses, turn = [], itertools.cycle([True, False])
    wanted = [*CHECKS]
    if mode is GenerationMode.NEGATIVE and operation.label not in NEVER_REFUSED:
        wanted.append(openapi_checks.negative_data_rejection)
    elif mode is GenerationMode.POSITIVE and operation.label not in RULES_BEYOND_THE_DESCRIPTION:
        wanted.append(openapi_checks.positive_data_acceptance)

    def send(case, expected):
        response = case.call(headers=headers, timeout=120)
        statuses.append(response.status_code)
        case.validate_response(response, checks=expected)

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        if next(turn) and mode is GenerationMode.POSITIVE:
            known = {name: existing[name] for name in case.path_parameters or {} if name in existing}
            case.path_parameters = {**(case.path_parameters or {}), **known}
        given = case.body if mode is GenerationMode.POSITIVE and isinstance(case.body, dict) else {}
        ruled = RULES_OF_FIELDS.get(operation.label, set()) & given.keys()
        send(case, CHECKS if ruled else wanted)
        if ruled:
            case.body = {name: value for name, value in given.items() if name not in ruled}
            send(case, wanted)

    check()
    return statuses
