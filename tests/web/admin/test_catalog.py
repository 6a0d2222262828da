"""Products, policies and codes over the admin API: what is changed there, buyers see at once."""

import pytest

from tests.builders import audit_actions, invoice_of, load_invoice

POLICY = {"slug": "team", "name": "Team", "duration_seconds": 86_400, "max_machines": 5, "entitlements": ["export"]}


def test_product_is_added_changed_and_shown_to_buyers(admin, api):
    made = admin.post(
        "products", {"slug": "viewer", "name": "Viewer", "price_amount": 999, "price_currency": "EUR"}, 201
    )
    admin.post("products/viewer/policies", {"slug": "standard"}, 201)
    catalog = [{"slug": "export", "name": "Export", "description": "to PDF"}]
    changed = admin.patch(
        "products/viewer", {"name": "The Viewer", "price_amount": 1_299, "entitlements_catalog": catalog}
    )
    assert (changed["name"], changed["price_amount"], changed["description"]) == ("The Viewer", 1_299, "")
    shown = api.get("/v1/products/viewer").json()
    assert (shown["name"], shown["price_amount"], shown["entitlements_catalog"]) == ("The Viewer", 1_299, catalog)
    assert audit_actions(made["id"]) == ["product.added", "product.changed"]


def test_archived_product_is_neither_shown_nor_sold_until_it_is_back(admin, api):
    admin.patch("products/editor", {"archived": True})
    assert api.get("/v1/products").json()["products"] == []
    assert api.get("/v1/products/editor/policies").status_code == 404
    assert api.post("/v1/purchase", {"product": "editor"}).status_code == 404
    assert admin.get("products/editor")["archived_at"] is not None
    admin.patch("products/editor", {"archived": False})
    assert api.post("/v1/purchase", {"product": "editor"}).status_code == 200


def test_policy_is_added_changed_and_archived(admin, api):
    made = admin.post("products/editor/policies", POLICY, 201)
    assert {name: made[name] for name in POLICY} == POLICY
    changed = admin.patch(
        "products/editor/policies/team", {"price_amount": 60_000, "highlighted": True, "grace_seconds": 60}
    )
    assert (changed["price_amount"], changed["highlighted"], changed["max_machines"]) == (60_000, True, 5)
    public = {policy["slug"]: policy for policy in api.get("/v1/products/editor/policies").json()["policies"]}
    assert (public["team"]["price_sats"], public["team"]["highlighted"]) == (60_000, True)
    admin.patch("products/editor/policies/team", {"archived": True})
    assert api.post("/v1/purchase", {"product": "editor", "policy_slug": "team"}).status_code == 404
    assert [policy["slug"] for policy in admin.get("products/editor/policies")] == ["standard", "team"]


def test_policies_are_shown_in_their_order_and_hidden_ones_to_those_who_name_them(admin, api):
    bullets = ["Updates for a year", "Help by mail"]
    made = admin.post("products/editor/policies", {**POLICY, "hidden": True, "position": -1, "bullets": bullets}, 201)
    assert (made["hidden"], made["position"], made["bullets"]) == (True, -1, bullets)

    def shown():
        return [policy["slug"] for policy in api.get("/v1/products/editor/policies").json()["policies"]]

    def bought(**wanted):
        invoice_id = api.post("/v1/purchase", {"product": "editor", **wanted}).json()["invoice_id"]
        return str(load_invoice(invoice_of(invoice_id)).policy_id)

    assert shown() == ["standard"]
    assert bought() != made["id"]
    assert bought(policy_slug="team") == made["id"]
    admin.patch("products/editor/policies/team", {"hidden": False})
    assert shown() == ["team", "standard"]
    assert bought() == made["id"]
    assert api.get("/v1/products/editor/policies").json()["policies"][0]["bullets"] == bullets
    admin.patch("products/editor/policies/team", {"position": 1})
    assert [policy["slug"] for policy in admin.get("products/editor/policies")] == ["standard", "team"]
    for wrong in ({"bullets": [" "]}, {"bullets": ["x"] * 21}, {"position": 10**7}):
        assert admin.call("PATCH", "products/editor/policies/team", wrong).status_code == 400


def test_currency_is_not_changed_under_the_prices_of_policies(admin):
    admin.patch("products/editor/policies/standard", {"price_amount": 5})
    answer = admin.call("PATCH", "products/editor", {"price_currency": "EUR"})
    assert (answer.status_code, "policies of editor have prices of their own in BTC" in answer.text) == (400, True)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("products", {"slug": "editor", "name": "Again", "price_amount": 1}, 409),
        ("products", {"slug": "Editor", "name": "Case", "price_amount": 1}, 400),
        ("products", {"slug": "x", "name": "Doubloons", "price_amount": 1, "price_currency": "XXX"}, 400),
        ("products/editor/policies", {"slug": "standard"}, 409),
        ("products/nothing/policies", {"slug": "standard"}, 404),
        ("codes", {"code": "BAD CODE", "kind": "free_license"}, 400),
        ("codes", {"code": "MUCH", "kind": "percent", "amount": 10_001}, 400),
        ("codes", {"code": "LOST", "kind": "free_license", "product": "nothing"}, 404),
    ],
)
def test_what_can_not_be_is_refused(admin, path, body, status):
    assert admin.call("POST", path, body).status_code == status


def test_code_is_added_used_shown_and_disabled(admin, api):
    made = admin.post("codes", {"code": "spring", "kind": "percent", "amount": 2_500, "max_uses": 1}, 201)
    assert (made["code"], made["uses"]) == ("SPRING", 0)
    assert api.post("/v1/purchase", {"product": "editor", "code": "Spring"}).json()["amount_sats"] == 15_750
    shown = admin.get("codes/spring")
    assert (shown["uses"], shown["redemptions"]) == (1, {"reserved": 1, "redeemed": 0, "cancelled": 0, "excess": 0})
    assert api.post("/v1/purchase", {"product": "editor", "code": "spring"}).status_code == 409
    assert admin.post("codes/spring/disable")["disabled_at"] is not None
    assert api.post("/v1/purchase", {"product": "editor", "code": "spring"}).status_code == 404
    assert [code["code"] for code in admin.get("codes")] == ["SPRING"]
    assert admin.call("POST", "codes", {"code": "SPRING", "kind": "free_license"}).status_code == 409


def test_code_is_changed_and_shown_to_everybody_while_it_can_be_used(admin, api):
    admin.post("codes", {"code": "SPRING", "kind": "percent", "amount": 2_500, "product": "editor"}, 201)
    assert api.get("/v1/products").json()["products"][0]["featured_codes"] == []
    changed = admin.patch("codes/spring", {"featured": True, "policies": ["standard"], "max_uses_per_buyer": 1})
    assert (changed["featured"], len(changed["policy_ids"]), changed["max_uses_per_buyer"]) == (True, 1, 1)
    shown = {
        "code": "SPRING",
        "kind": "percent",
        "amount": 2_500,
        "currency": "BTC",
        "policies": ["standard"],
        "expires_at": None,
    }
    assert api.get("/v1/products").json()["products"][0]["featured_codes"] == [shown]
    assert api.get("/v1/products/editor").json()["featured_codes"] == [shown]
    assert api.get("/v1/products/editor/policies").json()["product"]["featured_codes"] == [shown]
    admin.patch("products/editor/policies/standard", {"hidden": True})
    assert api.get("/v1/products/editor").json()["featured_codes"] == []
    admin.patch("products/editor/policies/standard", {"hidden": False})
    order = {"product": "editor", "code": "spring"}
    refused = api.post("/v1/purchase", order)
    assert (refused.status_code, "give the buyer's e-mail address" in refused.text) == (400, True)
    assert api.post("/v1/purchase", {**order, "buyer_email": "buyer@example.com"}).status_code == 200
    admin.patch("codes/spring", {"max_uses": 1})
    assert api.get("/v1/products/editor").json()["featured_codes"] == []
    assert admin.call("PATCH", "codes/spring", {"amount": 1}).status_code == 400


def test_codes_come_in_pages(admin):
    for number in range(5):
        admin.post("codes", {"code": f"C{number}", "kind": "free_license"}, 201)
    first = admin.get("codes", limit=2)
    second = admin.get("codes", limit=2, before=first[-1]["id"])
    assert [code["code"] for code in first + second] == ["C4", "C3", "C2", "C1"]
