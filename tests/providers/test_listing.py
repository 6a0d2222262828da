"""Lists with malformed entries: readable ones are read, the others are counted and named."""

from datetime import UTC, datetime

import pytest

from tests.providers.test_btcpay import adapter as btcpay_adapter
from tests.providers.test_zaprite import adapter as zaprite_adapter

SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
ORDER = "5f0f5b8e-54a1-4a3e-9d6f-0f3f6f6e7a11"
GOOD = {
    "id": "good",
    "status": "Settled",
    "amount": "0.00021",
    "paidAmount": "0.00021",
    "currency": "BTC",
    "checkoutLink": "https://pay.example.com/i/good",
    "createdTime": 1_768_000_000,
    "metadata": {"orderId": ORDER},
}
ODD = [
    None,
    7,
    "text",
    [],
    {},
    {**GOOD, "currency": "JPY"},
    {**GOOD, "currency": "SATS", "amount": "21000"},
    {**GOOD, "currency": "BRL"},
    {**GOOD, "currency": None},
    {**GOOD, "amount": "-1"},
    {**GOOD, "amount": "NaN"},
    {**GOOD, "paidAmount": {}},
    {**GOOD, "checkoutLink": None},
    {name: value for name, value in GOOD.items() if name != "checkoutLink"},
    {**GOOD, "id": ""},
    {**GOOD, "id": "a\u202eb\n"},
    {**GOOD, "storeId": "another"},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_odd_entry_of_btcpay_stops_no_other(recorder, odd):
    recorder.answer = (200, [GOOD, odd, {**GOOD, "id": "good too"}])
    page = btcpay_adapter(recorder.url).list_invoices(SINCE, UNTIL, 0, 200)
    assert [invoice.snapshot.provider_invoice_id for invoice in page.found] == ["good", "good too"]
    assert (page.count, len(page.unreadable), page.is_last) == (3, 1, True)
    if isinstance(odd, dict) and "metadata" in odd:
        assert page.unreadable[0].order_id == ORDER


@pytest.mark.parametrize("created", [0, -1, 2**62, "yesterday", None, 1.5])
def test_absurd_time_of_an_entry_is_no_reason_to_refuse_it(recorder, created):
    recorder.answer = (200, [{**GOOD, "createdTime": created}])
    assert len(btcpay_adapter(recorder.url).list_invoices(SINCE, UNTIL, 0, 200).found) == 1


def test_lists_include_archived_invoices(recorder):
    recorder.answer = (200, [])
    btcpay = btcpay_adapter(recorder.url)
    btcpay.list_invoices(SINCE, UNTIL, 0, 200)
    btcpay.find_invoices(ORDER)
    assert all("includeArchived=true" in request.target for request in recorder.requests)


def zaprite_order(number, **facts):
    return {
        "id": f"order-{number}",
        "externalUniqId": ORDER,
        "status": "PAID",
        "totalAmount": 21_000,
        "currency": "BTC",
        "checkoutUrl": "https://pay.example.com/o",
        "createdAt": "2026-01-15T12:00:00Z",
        "transactions": [],
        **facts,
    }


def test_zaprite_is_listed_by_pages_until_the_last_or_the_span_ends(recorder):
    recorder.answer = (200, {"items": [zaprite_order(1), None, zaprite_order(2)], "meta": {"pagesCount": 3}})
    zaprite = zaprite_adapter(recorder.url)
    page = zaprite.list_invoices(SINCE, UNTIL, 100, 100)
    assert recorder.requests[-1].target.endswith("?limit=100&page=2")
    assert (len(page.found), page.count, page.is_last) == (2, 3, False)
    assert zaprite.list_invoices(SINCE, UNTIL, 200, 100).is_last
    old = [zaprite_order(3, createdAt="2025-12-31T00:00:00Z")]
    recorder.answer = (200, {"items": old, "meta": {"pagesCount": 9}})
    assert zaprite.list_invoices(SINCE, UNTIL, 0, 100).is_last


def test_zaprite_page_after_halving(recorder):
    """A page starts where the halved one before it ended."""
    recorder.answer = (200, {"items": [], "meta": {"pagesCount": 9}})
    zaprite_adapter(recorder.url).list_invoices(SINCE, UNTIL, 150, 100)
    assert recorder.requests[-1].target.endswith("?limit=50&page=4")


@pytest.mark.parametrize("status", ["PENDING", "UNCONFIRMED", "FAILED", "", None])
def test_only_confirmed_transactions_of_zaprite_count_as_paid(recorder, status):
    transactions = [
        {"amountInOrderCurrency": 1_000, "orderCurrency": "BTC", "status": "CONFIRMED"},
        {"amountInOrderCurrency": 20_000, "orderCurrency": "BTC", "status": status},
    ]
    recorder.answer = (200, zaprite_order(1, status="UNDERPAID", transactions=transactions))
    snapshot = zaprite_adapter(recorder.url).get_invoice("order-1")
    assert (snapshot.paid.amount, snapshot.status, snapshot.unconfirmed) == (1_000, "processing", True)
