"""The sandbox as Zaprite: orders over the same ledger, and unsigned webhooks."""

import pytest

from keysat.core.errors import RemoteRefused
from tests.sandbox.conftest import receiving

KEY = "api-key-of-zaprite"
ORDER = {"amount": 2_100, "currency": "BTC", "externalUniqId": "ours-1"}


class Orders:
    """An organization's view of Zaprite."""

    def __init__(self, url, session):
        self.url, self.session, self.key = url, session, KEY

    def call(self, method, path, **options):
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return self.session.request(method, f"{self.url}/v1{path}", headers=headers, timeout=120, **options)

    def create(self, **changes):
        response = self.call("POST", "/orders", json={**ORDER, **changes})
        assert response.status_code == 200, response.text
        return response.json()

    def read(self, wanted):
        return self.call("GET", f"/orders/{wanted}").json()

    def status(self, order):
        return self.read(order["id"])["status"]


@pytest.fixture
def orders(sandbox_server, sandbox, session):
    sandbox.register_store("org", KEY, kind="zaprite")
    return Orders(sandbox_server.url, session)


def test_order_has_what_was_asked_for_and_a_page_to_pay_at(orders, sandbox_server):
    asked = {
        "label": "A license",
        "metadata": {"source": "keysat"},
        "redirectUrl": "https://shop.example/",
        "customerData": {"email": "buyer@example.com"},
    }
    order = orders.create(**asked)
    assert order == {
        **asked,
        "id": order["id"],
        "externalUniqId": "ours-1",
        "status": "PENDING",
        "checkoutUrl": f"{sandbox_server.url}/order/{order['id']}",
        "createdAt": order["createdAt"],
        "expiresAt": order["expiresAt"],
        "totalAmount": 2_100,
        "currency": "BTC",
        "transactions": [],
    }
    assert orders.read(order["id"]) == order


def test_order_lookup_by_both_ids(orders):
    """Orders are found by both ids, the newest first."""
    first, second = orders.create(), orders.create()
    third = orders.create(externalUniqId="ours-2")
    assert orders.read(first["id"]) == first
    assert orders.read("ours-1") == second
    assert orders.read("ours-2") == third
    listed = orders.call("GET", "/orders", params={"limit": 2}).json()["items"]
    assert [order["id"] for order in listed] == [third["id"], second["id"]]
    assert orders.call("GET", "/orders/nothing").status_code == 404


PAYMENTS = {
    "PENDING": lambda client, order: None,
    "UNDERPAID": lambda client, order: client.pay(order, "0.00002000"),
    "PROCESSING": lambda client, order: client.pay(order, confirmations=0),
    "PAID": lambda client, order: client.pay(order),
    "OVERPAID": lambda client, order: client.pay(order, "0.5"),
    "COMPLETE": lambda client, order: client.mark(order, "Settled"),
    "EXPIRED": lambda client, order: client.expire(order),
    "INVALID": lambda client, order: client.mark(order, "Invalid"),
    "REFUNDED": lambda client, order: (client.pay(order), client.refund(order)),
}


@pytest.mark.parametrize("status", PAYMENTS)
def test_each_way_of_paying_has_its_status(orders, sandbox, status):
    order = orders.create()
    PAYMENTS[status](sandbox, order["id"])
    assert orders.status(order) == status


def test_underpaid_order_can_be_topped_up(orders, sandbox):
    order = orders.create()
    sandbox.pay(order["id"], "0.00002000")
    sandbox.pay(order["id"])
    paid = orders.read(order["id"])
    assert paid["status"] == "PAID"
    assert [transaction["amountInOrderCurrency"] for transaction in paid["transactions"]] == [2_000, 100]


def test_late_payment_is_processed_and_then_paid(orders, sandbox):
    order = orders.create()
    sandbox.pay(order["id"], late=True, confirmations=0)
    assert orders.status(order) == "PROCESSING"
    sandbox.confirm(order["id"])
    assert orders.status(order) == "PAID"


def test_underpaid_order_expires_with_its_money(orders, sandbox):
    order = orders.create()
    sandbox.pay(order["id"], "0.00002000")
    sandbox.expire(order["id"])
    assert orders.status(order) == "EXPIRED"
    assert len(orders.read(order["id"])["transactions"]) == 1


def test_order_is_in_the_ledger_as_an_invoice(orders, sandbox):
    order = orders.create(amount=1_999, currency="EUR")
    sandbox.pay(order["id"])
    (entry,) = sandbox.ledger()["invoices"]
    assert (entry["id"], entry["order_id"], entry["store_id"]) == (order["id"], "ours-1", "org")
    assert (entry["amount"], entry["paid_amount"], entry["status"]) == ("19.99", "19.99", "Settled")


def test_requests_are_counted_as_btcpays_are(orders, sandbox):
    order = orders.create()
    orders.read(order["id"])
    orders.call("GET", "/orders")
    orders.call("GET", "/nonsense")
    made = sandbox.requests_made()
    assert made["by_route"] == {"POST invoices": 1, "GET invoice": 1, "GET invoices": 1, "GET unknown": 1}
    assert (made["by_store"], made["invoice_reads"]) == ({"org": 4}, {order["id"]: 1})


@pytest.mark.parametrize("key", ["", "another-key", "api-key-of-shop"])
def test_wrong_key_shows_nothing(orders, merchant, key):
    order = orders.create()
    orders.key = key
    for method, path in (("POST", "/orders"), ("GET", "/orders"), ("GET", f"/orders/{order['id']}")):
        assert orders.call(method, path).status_code == 401


def test_organization_sees_its_own_orders_alone(orders, sandbox):
    order = orders.create()
    sandbox.register_store("other", "key-of-other", kind="zaprite")
    orders.key = "key-of-other"
    assert orders.call("GET", f"/orders/{order['id']}").status_code == 404
    assert orders.call("GET", "/orders").json()["items"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 0},
        {"amount": "2100"},
        {"amount": 21.5},
        {"amount": None},
        {"currency": "XAU"},
        {"currency": None},
        {"externalUniqId": 7},
        {"typo": 1},
    ],
    ids=str,
)
def test_order_of_another_form_is_refused(orders, changes):
    response = orders.call("POST", "/orders", json={**ORDER, **changes})
    assert (response.status_code, response.json()["code"]) == (400, "BAD_REQUEST")


def test_zaprite_malformed_requests(orders):
    """A body that isn't JSON and a limit that isn't a number are refused."""
    assert orders.call("POST", "/orders", data=b"{").status_code == 400
    assert orders.call("GET", "/orders", params={"limit": "x"}).status_code == 400


def test_faults_befall_it_too(orders, sandbox):
    order = orders.create()
    sandbox.set_faults([{"kind": "status", "status": 503, "store": "org", "times": 1}])
    assert orders.call("GET", f"/orders/{order['id']}").status_code == 503
    sandbox.set_faults([{"kind": "rewrite", "fields": {"status": "SOMETHING"}, "path_prefix": "/v1/"}])
    assert orders.status(order) == "SOMETHING"


def test_unknown_kind_is_refused(sandbox):
    with pytest.raises(RemoteRefused, match="'kind' of the store has to be one of btcpay, "):
        sandbox.register_store("org", KEY, kind="paypal")


# Webhooks.


@pytest.fixture
def order_pings(sandbox_server, sandbox, orders):
    with receiving() as receiver:
        sandbox.register_store("org", KEY, receiver.url, kind="zaprite")
        yield receiver
        sandbox_server.stop()


def test_webhook_is_unsigned_with_the_orders_state(orders, sandbox, order_pings):
    order = orders.create()
    event, headers, _ = order_pings.came.get(timeout=120)
    state = {"id": order["id"], "externalUniqId": "ours-1", "status": "PENDING"}
    assert event == {"event": "order.change", "data": state}
    assert not any("sig" in name.lower() for name in headers)
    sandbox.expire(order["id"])
    assert order_pings.came.get(timeout=120)[0]["data"] == {**state, "status": "EXPIRED"}


def test_redelivery_is_the_same_in_every_byte(orders, order_pings):
    order_pings.statuses = [500]
    orders.create()
    first, second = order_pings.came.get(timeout=120), order_pings.came.get(timeout=120)
    assert first[2] == second[2]


def test_webhooks_are_dropped_on_order(orders, sandbox, order_pings):
    sandbox.set_webhooks(drop=1.0)
    orders.create()
    assert sandbox.ledger()["webhooks"] == {"sent": 0, "dropped": 1, "delivered": 0, "failed": 0}
