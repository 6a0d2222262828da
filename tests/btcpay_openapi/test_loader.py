import pytest
from jsonschema import Draft202012Validator

from tests.btcpay_openapi import operation_request_schema, request_validator, validator, webhook_validator

CREATE = "/api/v1/stores/{storeId}/invoices"


def test_components_resolve_across_files():
    Draft202012Validator.check_schema(operation_request_schema("POST", CREATE))
    assert validator("InvoiceData").is_valid({"id": "x", "createdTime": 1, "status": "New", "checkout": None})


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "Paid"},
        {"amount": 5},
        {"amount": "1e-8"},
        {"createdTime": 1.5},
        {"orderId": "not here"},
        {"checkout": {"redirectUrl": "misspelled"}},
    ],
)
def test_what_contradicts_the_schema_is_found(wrong):
    assert not validator("InvoiceData").is_valid(wrong)


def test_a_call_is_found_by_its_template_or_a_real_path():
    for path in (CREATE, "/api/v1/stores/shop/invoices"):
        body = request_validator("POST", path)
        assert body.is_valid({"amount": "0.00002100", "currency": "BTC", "metadata": {"orderId": "1", "more": 1}})
        assert not body.is_valid({"amout": "0.00002100"})
    with pytest.raises(KeyError):
        operation_request_schema("DELETE", CREATE)


def test_webhooks_are_found_by_type():
    assert webhook_validator("InvoiceExpired").is_valid({"type": "InvoiceExpired", "partiallyPaid": True})
    assert not webhook_validator("InvoiceExpired").is_valid({"overPaid": True})


def test_an_unknown_component_is_an_error():
    with pytest.raises(KeyError):
        validator("Invoices")
