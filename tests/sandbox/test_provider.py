import re
from http.client import HTTPConnection

import pytest

from tests.btcpay_openapi import validator
from tests.sandbox.conftest import Shop


def test_a_new_invoice_has_btcpays_shape_and_defaults(merchant, sandbox_server):
    invoice = merchant.create(metadata={"orderId": "42", "posData": {"tip": 0.48}})
    assert re.fullmatch(r"[1-9A-HJ-NP-Za-km-z]{22}", invoice["id"])
    assert (invoice["amount"], invoice["paidAmount"], invoice["currency"]) == ("0.00002100", "0.00000000", "BTC")
    assert (invoice["status"], invoice["additionalStatus"], invoice["type"]) == ("New", "None", "Standard")
    assert invoice["expirationTime"] - invoice["createdTime"] == 15 * 60
    assert invoice["monitoringExpiration"] - invoice["expirationTime"] == 86_400
    assert invoice["metadata"] == {"orderId": "42", "posData": {"tip": 0.48}}
    assert invoice["checkoutLink"] == f"{sandbox_server.url}/i/{invoice['id']}"


def test_both_forms_of_reading_agree(merchant):
    invoice = merchant.create()
    assert merchant.read(invoice) == merchant.ok("InvoiceData", "GET", f"/invoices/{invoice['id']}") == invoice


def test_checkout_options_are_honored(merchant):
    checkout = {
        "expirationMinutes": 5,
        "monitoringMinutes": 60,
        "redirectURL": "https://shop.example",
        "speedPolicy": "LowSpeed",
    }
    invoice = merchant.create("19.99", currency="EUR", checkout=checkout)
    assert invoice["expirationTime"] - invoice["createdTime"] == 300
    assert invoice["monitoringExpiration"] - invoice["expirationTime"] == 3600
    assert checkout.items() <= invoice["checkout"].items()
    assert invoice["amount"] == "19.99"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"amount": "-1", "currency": "BTC"}, "amount"),
        ({"amount": "NaN", "currency": "BTC"}, "amount"),
        ({"amount": [], "currency": "BTC"}, "amount"),
        ({"amount": "1", "currency": "DOGE"}, "currency"),
        ({"amount": "1", "currency": 7}, "currency"),
        ({"amount": "1", "metadata": "text"}, "metadata"),
        ({"amount": "1", "checkout": {"expirationMinutes": 0}}, "checkout.expirationMinutes"),
        ({"amount": "1", "checkout": {"expirationMinutes": "1"}}, "checkout.expirationMinutes"),
        ({"amount": "1", "checkout": {"redirectURL": 1}}, "checkout.redirectURL"),
        ({"amount": "1", "checkout": {"speedPolicy": "Slow"}}, "checkout.speedPolicy"),
        ({"amount": "1", "checkout": {"paymentTolerance": 5}}, "checkout.paymentTolerance"),
        ({"amount": "1", "checkout": {"speedPolicy": []}}, "checkout.speedPolicy"),
        ({"amount": "1", "checkout": {"paymentTolerance": []}}, "checkout.paymentTolerance"),
        ({"amount": "1", "checkout": {"expirationMinutes": 10**400}}, "checkout.expirationMinutes"),
        ({"amount": "1", "checkout": {"expirationMinutes": True}}, "checkout.expirationMinutes"),
        ({"amount": "1", "receipt": {"showQR": 1}}, "receipt.showQR"),
        ({"amount": "1", "additionalSearchTerms": [1]}, "additionalSearchTerms"),
        ([], ""),
    ],
)
def test_a_bad_create_gets_the_validation_list(merchant, body, path):
    response = merchant.call("POST", "/stores/shop/invoices", json=body)
    assert response.status_code == 422
    validator("ValidationProblemDetails").validate(response.json())
    assert [error["path"] for error in response.json()] == [path]


def test_a_body_that_is_not_json_gets_400(merchant):
    for body in (b"{", b'{"amount": NaN}', b"[" * 100_000):
        response = merchant.call("POST", "/stores/shop/invoices", data=body)
        assert response.status_code == 400
        validator("ValidationProblemDetails").validate(response.json())


def test_the_list_filters_as_btcpay_does(merchant, sandbox, clock):
    first, second, third = (merchant.create(metadata={"orderId": order, "itemDesc": "Pro"}) for order in "abc")
    clock.now += 10
    last = merchant.create("0.00000001", additionalSearchTerms=["Needle"])
    sandbox.pay(second["id"])
    ids = {invoice["id"]: name for name, invoice in zip("1234", (first, second, third, last), strict=True)}

    def listed(**params):
        return "".join(ids[invoice["id"]] for invoice in merchant.list(**params))

    assert listed() == "4321"
    assert listed(orderId=["a", "c"]) == "31"
    assert listed(status=["Settled", "Processing"]) == "2"
    assert listed(status="New", orderId="b") == ""
    assert listed(textSearch="needle") == "4"
    assert listed(textSearch=third["id"]) == "3"
    assert listed(startDate=last["createdTime"]) == "4"
    assert listed(endDate=first["createdTime"]) == "321"
    assert listed(skip=1, take=2) == "32"
    assert listed(take=0) == ""


@pytest.mark.parametrize("name", ["startDate", "endDate", "skip", "take"])
def test_a_malformed_number_in_the_list_call_is_refused(merchant, name):
    response = merchant.call("GET", "/stores/shop/invoices", params={name: "-1"})
    assert response.status_code == 422
    assert response.json()[0]["path"] == name


@pytest.mark.parametrize("form", ["/stores/shop/invoices/{}/status", "/invoices/{}/status"])
def test_a_merchant_marks_by_hand(merchant, form):
    invoice = merchant.create()
    for status in ("Settled", "Invalid"):
        answer = merchant.ok("InvoiceData", "POST", form.format(invoice["id"]), json={"status": status})
        assert (answer["status"], answer["additionalStatus"]) == (status, "Marked")
        assert status not in answer["availableStatusesForManualMarking"]
    for status in ("Invalid", "New", None):
        response = merchant.call("POST", form.format(invoice["id"]), json={"status": status})
        assert response.status_code == 422
        validator("ValidationProblemDetails").validate(response.json())


def test_the_store_can_be_read(merchant):
    assert merchant.ok("StoreData", "GET", "/stores/shop")["id"] == "shop"


@pytest.mark.parametrize("path", ["/stores/shop", "/stores/shop/invoices", "/stores/shop/invoices/x", "/invoices/x"])
def test_missing_or_wrong_credentials_get_401(merchant, path):
    for key in ("", "wrong"):
        response = Shop(merchant.url, merchant.session, key).call("GET", path)
        assert response.status_code == 401
        validator("ProblemDetails").validate(response.json())


def test_another_stores_key_gets_403(merchant, sandbox):
    sandbox.register_store("other", "other-key")
    invoice = merchant.create()
    other_shop = Shop(merchant.url, merchant.session, "other-key", "other")
    for path in ("/stores/shop", f"/stores/shop/invoices/{invoice['id']}", f"/invoices/{invoice['id']}"):
        response = other_shop.call("GET", path)
        assert response.status_code == 403
        validator("ProblemDetails").validate(response.json())
    assert other_shop.call("GET", f"/stores/other/invoices/{invoice['id']}").status_code == 404
    assert other_shop.call("POST", f"/stores/other/invoices/{invoice['id']}/status", json={}).status_code == 404
    assert other_shop.list() == []


@pytest.mark.parametrize("path", ["/stores/shop/invoices/nothing", "/invoices/nothing", "/server/info"])
def test_what_does_not_exist_gets_404(merchant, path):
    response = merchant.call("GET", path)
    assert response.status_code == 404
    validator("ProblemDetails").validate(response.json())


def test_a_method_that_a_route_lacks_gets_405(merchant):
    assert merchant.call("DELETE", "/stores/shop").status_code == 405


@pytest.mark.parametrize(
    "header", [("Content-Length", "9999999"), ("Content-Length", "x"), ("Transfer-Encoding", "chunked")]
)
def test_a_body_too_large_or_of_unknown_length_is_refused(sandbox_server, header):
    connection = HTTPConnection(sandbox_server.url.removeprefix("http://"), timeout=120)
    connection.putrequest("POST", "/api/v1/stores/shop/invoices")
    connection.putheader(*header)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
