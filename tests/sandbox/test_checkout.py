"""The sandbox's checkout as a page: what a buyer does there, for the links of each provider."""

import pytest
import requests

from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox

PATIENCE = 120  # seconds, on a machine that is busy
RETURN = "https://seller.example.com/p/secret"
CREATES = {
    "btcpay": (
        "/api/v1/stores/shop/invoices",
        "token key",
        {
            "amount": "0.00021",
            "currency": "BTC",
            "metadata": {"itemDesc": "A <b>"},
            "checkout": {"redirectURL": RETURN},
        },
        lambda made: made["checkoutLink"],
    ),
    "zaprite": (
        "/v1/orders",
        "Bearer key",
        {"amount": 21_000, "currency": "BTC", "label": "A <b>", "redirectUrl": RETURN},
        lambda made: made["checkoutUrl"],
    ),
    "opennode": (
        "/v1/charges",
        "key",
        {"amount": 21_000, "description": "A <b>", "success_url": RETURN},
        lambda made: made["data"]["hosted_checkout_url"],
    ),
}


@pytest.fixture
def client():
    with Sandbox() as sandbox, SandboxClient(sandbox.url) as client:
        client.url = sandbox.url
        yield client


def create(client, kind="btcpay", **changes):
    """Create an invoice over 21,000 sat. Returns the link to its checkout."""
    client.register_store("shop", "key", kind=kind)
    path, authorization, body, link_of = CREATES[kind]
    headers = {"Authorization": authorization}
    return link_of(requests.post(client.url + path, json={**body, **changes}, headers=headers, timeout=PATIENCE).json())


def act(link, action):
    return requests.post(link, data={"do": action}, timeout=PATIENCE)


def entry(client):
    (invoice,) = client.ledger()["invoices"]
    return invoice


@pytest.mark.parametrize("kind", CREATES)
def test_buyer_pays_and_goes_back(client, kind):
    link = create(client, kind)
    shown = requests.get(link, timeout=PATIENCE)
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert "21,000 sat" in shown.text
    assert "A &lt;b&gt;" in shown.text
    paid = act(link, "pay")
    assert "Paid 21,000 sat. The payment is confirmed." in paid.text
    assert f'href="{RETURN}"' in paid.text
    assert "<button" not in paid.text
    assert entry(client)["status"] == "Settled"


@pytest.mark.parametrize(
    ("actions", "status", "paid"),
    [
        (["part"], "New", "0.00010500"),
        (["part", "pay"], "Settled", "0.00021000"),
        (["part", "expire"], "Expired", "0.00010500"),
        (["lightning"], "Settled", "0.00021000"),
        (["unconfirmed"], "Processing", "0.00021000"),
        (["unconfirmed", "confirm"], "Settled", "0.00021000"),
        (["late"], "Expired", "0.00021000"),
        (["expire", "pay"], "Expired", "0.00021000"),
        (["expire"], "Expired", "0.00000000"),
        (["nothing known"], "New", "0.00000000"),
    ],
)
def test_each_button_does_what_it_says(client, actions, status, paid):
    link = create(client)
    for action in actions:
        assert act(link, action).status_code == 200
    assert (entry(client)["status"], entry(client)["paid_amount"]) == (status, paid)


@pytest.mark.parametrize("kind", CREATES)
def test_lightning_is_offered_where_its_payments_have_a_hash(client, kind):
    shown = requests.get(create(client, kind), timeout=PATIENCE).text
    assert ("Pay over Lightning" in shown) is (kind == "btcpay")


def test_payer_sees_the_preimage(client):
    link = create(client)
    assert "preimage" not in act(link, "pay").text
    link = create(client)
    shown = act(link, "lightning").text
    [payment] = client.ledger()["invoices"][-1]["payments"]
    assert f'<code id="preimage">{payment["preimage"]}</code>' in shown


def test_button_that_comes_too_late_says_so(client):
    link = create(client)
    act(link, "pay")
    assert act(link, "expire").status_code == 400
    assert entry(client)["status"] == "Settled"


def test_odd_return_address_is_no_link(client):
    link = create(client, checkout={"redirectURL": "javascript:alert(1)"})
    assert "javascript:" not in requests.get(link, timeout=PATIENCE).text


def test_unknown_invoice_is_not_found(client):
    missing = requests.get(f"{client.url}/i/none", timeout=PATIENCE)
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h1>There is no such invoice</h1>" in missing.text
    for path, media_type in (("checkout.css", "text/css"), ("icon.svg", "image/svg+xml")):
        assert (
            requests.get(f"{client.url}/sandbox/{path}", timeout=PATIENCE)
            .headers["content-type"]
            .startswith(media_type)
        )
