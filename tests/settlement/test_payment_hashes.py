"""The hash of the Lightning payment is kept with a settled invoice, and its preimage nowhere."""

import pytest

from keysat.core.db import DATABASE
from keysat.providers.base import ProviderStatus
from keysat.settlement.by_hand import settle_and_issue
from tests.builders import PRICE, check_invoice, load_invoice, make_invoice, set_columns
from tests.canaries import forms
from tests.stories.test_canaries import dump

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def invoice(shop):
    return make_invoice()


def pay(shop, invoice):
    """Pay over Lightning. Returns the payment's hash and its preimage."""
    [payment] = shop.pay_lightning(invoice.provider_invoice_id)["payments"]
    return bytes.fromhex(payment["id"]), payment["preimage"]


def hashes(invoice):
    return load_invoice(invoice.id).payment_hashes


def reads_of(shop):
    return shop.requests_made()["by_route"].get("GET payments", 0)


def test_hash_is_kept_when_the_invoice_settles(shop, invoice):
    check_invoice(invoice.id)
    assert hashes(invoice) is None
    payment_hash, preimage = pay(shop, invoice)
    assert check_invoice(invoice.id).license_due
    assert hashes(invoice) == [payment_hash]
    assert load_invoice(invoice.id).paid_at is not None
    assert not any(form in dump() for form in forms(preimage))


@pytest.mark.parametrize(
    "act",
    [
        lambda shop, invoice_id: shop.pay(invoice_id),
        lambda shop, invoice_id: shop.mark(invoice_id, "Settled"),
        lambda shop, invoice_id: (shop.pay(invoice_id, "0.00001"), shop.pay_lightning(invoice_id)),
    ],
    ids=["on the chain", "marked by hand", "in two parts"],
)
def test_other_payments_leave_none_and_are_read_once(shop, invoice, act):
    act(shop, invoice.provider_invoice_id)
    assert check_invoice(invoice.id).license_due
    assert hashes(invoice) == []
    check_invoice(invoice.id)
    assert reads_of(shop) == 1


def test_payment_of_a_part_proves_nothing_once_a_rest_completes_it(shop, invoice):
    """Its payer may be somebody who paid a few sats with the checkout's link."""
    set_columns(invoice.id, rest_paid=PRICE - 1)
    pay(shop, invoice)
    assert check_invoice(invoice.id).license_due
    assert hashes(invoice) == []


@pytest.mark.parametrize("late", [False, True])
def test_next_check_fills_in_an_earlier_sale(shop, invoice, late):
    if late:
        shop.expire(invoice.provider_invoice_id)
    payment_hash, _ = pay(shop, invoice)
    check_invoice(invoice.id)
    set_columns(invoice.id, payment_hashes=None)
    for _ in range(2):
        check_invoice(invoice.id)
        assert hashes(invoice) == [payment_hash]
    assert load_invoice(invoice.id).status == "settled"


def test_payments_that_cannot_be_read_are_read_again(shop, invoice):
    payment_hash, _ = pay(shop, invoice)
    shop.set_faults([{"kind": "status", "status": 500, "path_prefix": f"{path_of(invoice)}/payment-methods"}])
    assert check_invoice(invoice.id).license_due
    assert hashes(invoice) is None
    shop.set_faults([])
    check_invoice(invoice.id)
    assert hashes(invoice) == [payment_hash]


def path_of(invoice):
    return f"/api/v1/invoices/{invoice.provider_invoice_id}"


def test_invoice_that_a_person_settled_unpaid_has_none(shop, invoice, signer):
    settle_and_issue(DATABASE, invoice.id, "paid in cash", lambda: signer.key_id, "cli")
    check_invoice(invoice.id)
    assert (hashes(invoice), reads_of(shop)) == (None, 0)


def test_provider_that_reports_no_single_payments_settles_all_the_same(fake):
    invoice = make_invoice()
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    for _ in range(2):
        check_invoice(invoice.id)
        assert (load_invoice(invoice.id).status, hashes(invoice)) == ("settled", None)
