"""Who may call what: every route that the application has, tried as every kind of caller."""

import pytest
import requests
from fastapi import FastAPI

from keysat.core.db import transaction
from keysat.models.api_key import Scope
from keysat.operations.api_keys import create_key, revoke_key
from keysat.web.app import create_app
from tests.builders import make_shop
from tests.serving import serving
from tests.web.described import FILLED_IN, NOWHERE

# What anybody may call, and why.
PUBLIC = {
    "/livez": "supervisors ask it",
    "/readyz": "supervisors ask it",
    "/metrics": "Prometheus asks it; counts only",
    "/": "says what runs here",
    "/assets/{name}": "what the pages look like",
    "/buy": "leads to the first page",
    "/buy/": "leads to the first page",
    "/docs": "the API's description, for people",
    "/docs/{name}": "what that page looks like",
    "/buy/{product}": "buyers have no account",
    "/me": "a license key, or a pass, is the secret",
    "/me/file": "a pass is the secret",
    "/me/renew": "a pass is the secret",
    "/recover": "buyers have no account, and the answer is always the same",
    "/recover/{secret}": "the link has the secret",
    "/p/{secret}": "the secret opens the purchase",
    "/p/{secret}/check": "the secret opens the purchase",
    "/p/{secret}/rest": "the secret opens the purchase",
    "/p/{secret}/renew": "the secret opens the purchase",
    "/p/{secret}/license.txt": "the secret opens the purchase",
    "/p/{secret}/license.lic": "the secret opens the purchase",
    "/p/{secret}/pay": "the secret opens the purchase",
    "/v1/products": "the shop's window",
    "/v1/products/{slug}": "the shop's window",
    "/v1/products/{slug}/policies": "the shop's window",
    "/openapi.json": "the API's description",
    "/v1/pubkey": "programs verify licenses with it",
    "/v1/status-list": "programs without a network learn what was withdrawn, by ids alone",
    "/v1/licenses/file": "the license key is the secret",
    "/v1/machines/file": "the license key is the secret",
    "/v1/machines/activate": "the license key is the secret",
    "/v1/machines/list": "the license key is the secret",
    "/v1/machines/{machine_id}/deactivate": "the license key is the secret",
    "/v1/discount-codes/preview": "buyers have no account, and the code is the secret",
    "/v1/purchase": "buyers have no account",
    "/v1/purchase/{invoice_id}": "the invoice's id is the secret",
    "/v1/purchase/{invoice_id}/rest": "the secret opens the purchase",
    "/v1/renew": "the license key is the secret",
    "/v1/subscriptions/cancel": "the license key is the secret",
    "/v1/recover": "the invoice's id and the buyer's address are the secret, or the preimage of its payment",
    "/v1/recover/link": "the link has the secret",
    "/v1/redeem": "the code is the secret",
    "/v1/validate": "the license key is the secret",
    "/v1/machines/heartbeat": "the license key is the secret",
    "/v1/machines/deactivate": "the license key is the secret",
    "/v1/{kind}/webhook/{account_id}": "the provider signs",
    "/v1/{kind}/webhook/{account_id}/{token}": "the token is the secret",
}
READING = {"GET", "HEAD"}
ROLES = ("nobody", "garbage", "revoked", "reader", "writer")


def contexts(app: FastAPI):
    """Every route of an application, as it will be dispatched."""
    found = []
    for route in app.routes:
        found += route.effective_route_contexts() if hasattr(route, "effective_route_contexts") else [route]
    return found


def routes(app: FastAPI):
    """Every method of every route of an application."""
    return sorted({(method, route.path) for route in contexts(app) for method in route.methods})


def refused(status: int) -> bool:
    return status in {401, 403}


def may(role: str, method: str, path: str) -> bool:
    """The rule that the matrix is checked against."""
    if not path.startswith("/v1/admin/"):
        return True
    return role == "writer" or (role == "reader" and method in READING)


def filled_in(path: str) -> str:
    for part in path.split("{")[1:]:
        name = part.split("}")[0]
        path = path.replace("{" + name + "}", FILLED_IN.get(name, NOWHERE))
    return path


def breaches(url: str, keys, method: str, path: str) -> list[str]:
    """The roles that a route treats otherwise than the rule has it."""
    url += filled_in(path)
    answers = {role: requests.request(method, url, headers=keys[role], timeout=120).status_code for role in ROLES}
    if not path.startswith("/v1/admin/") and path.startswith("/v1/"):
        # These routes require a signature, a token or a license key, the same for every caller.
        return [] if len(set(answers.values())) == 1 else [f"{method} {path}: {answers}"]
    wrong = [role for role in ROLES if refused(answers[role]) is may(role, method, path)]
    return [f"{method} {path} as {role}: {answers[role]}" for role in wrong]


@pytest.fixture
def keys(empty_database, fake):
    """The headers of each role."""
    make_shop()
    with transaction() as session:
        made = {scope: create_key(session, scope, scope, actor="cli") for scope in Scope}
        gone = create_key(session, "gone", Scope.WRITE, actor="cli")
        revoke_key(session, "gone", actor="cli")
    tokens = {"garbage": "ksk_garbage", "revoked": gone, "reader": made[Scope.READ], "writer": made[Scope.WRITE]}
    return {"nobody": {}, **{role: {"Authorization": f"Bearer {token}"} for role, token in tokens.items()}}


def test_routes_require_their_role(web_url, keys):
    found = routes(create_app())
    assert len(found) > 60
    assert [line for method, path in found for line in breaches(web_url, keys, method, path)] == []


def test_every_public_route_has_a_reason_and_is_there():
    assert {path for _, path in routes(create_app()) if not path.startswith("/v1/admin/")} == set(PUBLIC)


def test_route_that_forgot_to_ask_for_a_key_would_be_seen(keys):
    app = create_app()

    @app.post("/v1/admin/forgotten")
    def forgotten():
        return {}

    assert ("POST", "/v1/admin/forgotten") in routes(app)
    with serving(app) as url:
        found = breaches(url, keys, "POST", "/v1/admin/forgotten")
    assert [line.partition(" as ")[2].partition(":")[0] for line in found] == ["nobody", "garbage", "revoked", "reader"]
