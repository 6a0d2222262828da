"""The time of the payment is read once, when an invoice settles, and never prevents the settlement."""

import time

import pytest

from tests.builders import check_invoice, load_account, load_invoice, make_invoice

pytestmark = pytest.mark.usefixtures("empty_database")


def test_time_of_the_payment_is_kept_with_the_settled_invoice(shop):
    invoice = make_invoice()
    check_invoice(invoice.id)
    assert load_invoice(invoice.id).paid_at is None
    paid_at = shop.pay(invoice.provider_invoice_id)["paid_at"]
    assert check_invoice(invoice.id).license_due
    assert abs(load_invoice(invoice.id).paid_at.timestamp() - paid_at) <= 1
    assert time.time() - paid_at < 60


def test_invoice_marked_by_hand_has_no_payment(shop):
    invoice = make_invoice()
    shop.mark(invoice.provider_invoice_id, "Settled")
    assert check_invoice(invoice.id).license_due
    assert load_invoice(invoice.id).paid_at is None


def test_older_server_is_asked_under_the_store(shop):
    late = make_invoice()
    shop.set_faults([{"kind": "status", "status": 404, "path_prefix": "/api/v1/invoices/"}])
    paid_at = shop.pay(late.provider_invoice_id, late=True)["paid_at"]
    assert check_invoice(late.id).license_due
    settled = load_invoice(late.id)
    assert (settled.exception, abs(settled.paid_at.timestamp() - paid_at) <= 1) == ("late", True)


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 500}, {"kind": "garbage"}, {"kind": "wrong_json"}])
def test_missing_payment_time_still_settles(shop, fault):
    invoice = make_invoice()
    shop.pay(invoice.provider_invoice_id)
    shop.set_faults([{**fault, "path_prefix": f"/api/v1/invoices/{invoice.provider_invoice_id}/payment-methods"}])
    assert check_invoice(invoice.id).license_due
    assert (load_invoice(invoice.id).status, load_invoice(invoice.id).paid_at) == ("settled", None)
    assert load_account().failure_count == 0


@pytest.mark.parametrize("moment", [-1, 2**40, "soon", 1.5, True])
def test_absurd_time_is_no_time(shop, moment):
    invoice = make_invoice()
    shop.pay(invoice.provider_invoice_id)
    method = {"payments": [{"status": "Settled", "receivedDate": moment}]}
    path = f"/api/v1/invoices/{invoice.provider_invoice_id}/payment-methods"
    shop.set_faults([{"kind": "wrong_json", "body": [method], "path_prefix": path}])
    assert check_invoice(invoice.id).license_due
    assert load_invoice(invoice.id).paid_at is None
