import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from keysat.core.errors import RemoteNotFound, RemoteRefused
from tests.btcpay_openapi import validator


def entry(client, invoice):
    return next(found for found in client.ledger()["invoices"] if found["id"] == invoice["id"])


def test_a_full_payment_settles(merchant, sandbox, clock):
    invoice = merchant.create(metadata={"orderId": "42"})
    clock.now += 3.5
    sandbox.pay(invoice["id"])
    assert merchant.state(invoice) == "Settled/None"
    assert merchant.read(invoice)["paidAmount"] == "0.00002100"
    truth = entry(sandbox, invoice)
    assert truth["paid_at"] == truth["payments"][0]["at"] == clock.now
    assert (truth["order_id"], truth["refunded"], truth["payments"][0]["amount"]) == ("42", False, "0.00002100")


def test_lightning_payment_has_the_hash_of_its_preimage(merchant, sandbox):
    invoice = merchant.create()
    [payment] = sandbox.pay_lightning(invoice["id"])["payments"]
    assert merchant.state(invoice) == "Settled/None"
    assert payment["id"] == hashlib.sha256(bytes.fromhex(payment["preimage"])).hexdigest()
    response = merchant.call("GET", f"/stores/shop/invoices/{invoice['id']}/payment-methods")
    methods = {method["paymentMethodId"]: method for method in response.json()}
    for method in methods.values():
        validator("InvoicePaymentMethodDataModel").validate(method)
    assert [paid["id"] for paid in methods["BTC-LN"]["payments"]] == [payment["id"]]
    assert (methods["BTC-CHAIN"]["payments"], methods["BTC-CHAIN"]["paymentMethodPaid"]) == ([], "0.00000000")
    with pytest.raises(RemoteRefused, match="nothing is missing"):
        sandbox.pay_lightning(invoice["id"])


def test_an_unconfirmed_payment_is_processing_until_it_confirms(merchant, sandbox, clock):
    invoice = merchant.create()
    sandbox.pay(invoice["id"], confirmations=0)
    assert merchant.state(invoice) == "Processing/None"
    clock.now += 10_000
    assert merchant.state(invoice) == "Processing/None"
    sandbox.confirm(invoice["id"])
    assert merchant.state(invoice) == "Settled/None"
    assert entry(sandbox, invoice)["paid_at"] == clock.now - 10_000


def test_more_than_asked_is_paid_over(merchant, sandbox):
    invoice = merchant.create()
    sandbox.pay(invoice["id"], "0.00002101")
    assert merchant.state(invoice) == "Settled/PaidOver"


def test_money_after_settling_makes_it_paid_over(merchant, sandbox):
    invoice = merchant.create()
    sandbox.pay(invoice["id"])
    sandbox.pay(invoice["id"], "0.00000001")
    assert merchant.state(invoice) == "Settled/PaidOver"


def test_less_than_asked_stays_new_and_then_expires_as_partial(merchant, sandbox):
    invoice = merchant.create()
    sandbox.pay(invoice["id"], "0.00002000")
    assert merchant.state(invoice) == "New/PaidPartial"
    assert entry(sandbox, invoice)["paid_at"] is None
    sandbox.expire(invoice["id"])
    assert merchant.state(invoice) == "Expired/PaidPartial"


def test_parts_add_up(merchant, sandbox, clock):
    invoice = merchant.create()
    sandbox.pay(invoice["id"], "0.00002000")
    clock.now += 5
    assert sandbox.pay(invoice["id"])["paid_amount"] == "0.00002100"
    assert merchant.state(invoice) == "Settled/None"
    assert entry(sandbox, invoice)["paid_at"] == clock.now


def test_an_unpaid_invoice_expires_by_itself(merchant, sandbox, clock):
    invoice = merchant.create()
    clock.now = invoice["expirationTime"] - 1
    assert merchant.state(invoice) == "New/None"
    clock.now += 1
    assert merchant.state(invoice) == "Expired/None"
    assert merchant.list(status="Expired")[0]["id"] == invoice["id"]


def test_money_for_an_expired_invoice_is_late(merchant, sandbox):
    full, part = merchant.create(), merchant.create()
    for invoice in (full, part):
        sandbox.expire(invoice["id"])
    sandbox.pay(full["id"])
    sandbox.pay(part["id"], "0.00000001")
    assert (merchant.state(full), merchant.state(part)) == ("Expired/PaidLate", "Expired/PaidPartial")
    sandbox.pay(part["id"])
    assert merchant.state(part) == "Expired/PaidLate"
    assert entry(sandbox, full)["paid_at"] is not None


def test_late_expires_and_pays_in_one_step(merchant, sandbox):
    full, part, unconfirmed = merchant.create(), merchant.create(), merchant.create()
    sandbox.pay(full["id"], late=True)
    sandbox.pay(part["id"], "0.00000001", late=True)
    sandbox.pay(unconfirmed["id"], late=True, confirmations=0)
    sandbox.confirm(unconfirmed["id"])
    states = [merchant.state(invoice) for invoice in (full, part, unconfirmed)]
    assert states == ["Expired/PaidLate", "Expired/PaidPartial", "Expired/PaidLate"]


def test_a_refund_is_remembered_and_invalidates(merchant, sandbox):
    invoice = merchant.create()
    sandbox.pay(invoice["id"])
    sandbox.refund(invoice["id"])
    assert merchant.state(invoice) == "Invalid/Marked"
    truth = entry(sandbox, invoice)
    assert truth["refunded"]
    assert truth["paid_at"] is not None


def test_a_mark_is_no_payment(merchant, sandbox):
    invoice = merchant.create()
    sandbox.mark(invoice["id"], "Settled")
    assert merchant.state(invoice) == "Settled/Marked"
    assert entry(sandbox, invoice)["paid_at"] is None
    sandbox.pay(invoice["id"])
    assert merchant.state(invoice) == "Settled/Marked"
    assert entry(sandbox, invoice)["paid_at"] is not None


def test_a_top_up_takes_any_amount(merchant, sandbox):
    invoice = merchant.create(None)
    assert (invoice["type"], invoice["amount"]) == ("TopUp", "0.00000000")
    sandbox.pay(invoice["id"], "0.5")
    assert merchant.state(invoice) == "Settled/None"
    assert merchant.read(invoice)["amount"] == "0.50000000"


def test_an_invoice_over_nothing_is_settled_at_once(merchant, sandbox):
    invoice = merchant.create("0")
    assert merchant.state(invoice) == "Settled/None"
    assert entry(sandbox, invoice)["paid_at"] == entry(sandbox, invoice)["created_at"]


def test_racing_payments_are_all_kept(merchant, sandbox):
    invoice = merchant.create()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: sandbox.pay(invoice["id"], "0.00000100"), range(30)))
    truth = entry(sandbox, invoice)
    assert (truth["paid_amount"], len(truth["payments"])) == ("0.00003000", 30)
    assert truth["paid_at"] == truth["payments"][20]["at"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda sandbox, id_: sandbox.pay(id_, "0"),
        lambda sandbox, id_: sandbox.pay(id_, "-1"),
        lambda sandbox, id_: sandbox.pay(id_, "much"),
        lambda sandbox, id_: sandbox.pay(id_, confirmations=2),
        lambda sandbox, id_: sandbox.pay(id_, 1.5),
        lambda sandbox, id_: sandbox.confirm(id_),
        lambda sandbox, id_: sandbox.refund(id_),
        lambda sandbox, id_: sandbox.mark(id_, "New"),
        lambda sandbox, id_: sandbox.mark(id_, "Odd"),
    ],
)
def test_wrong_orders_are_refused_in_a_sentence(merchant, sandbox, wrong):
    invoice = merchant.create()
    with pytest.raises(RemoteRefused, match=r"refused: .+\.$"):
        wrong(sandbox, invoice["id"])
    assert merchant.state(invoice) == "New/None"


def test_what_contradicts_the_state_is_refused(merchant, sandbox):
    invoice = merchant.create()
    sandbox.pay(invoice["id"])
    for wrong in (
        lambda: sandbox.pay(invoice["id"]),
        lambda: sandbox.expire(invoice["id"]),
        lambda: sandbox.pay(invoice["id"], "1", late=True),
        lambda: sandbox.mark(invoice["id"], "Settled"),
        lambda: sandbox.refund(invoice["id"]) and sandbox.refund(invoice["id"]),
    ):
        with pytest.raises(RemoteRefused):
            wrong()


def test_an_unknown_invoice_is_not_found(sandbox):
    with pytest.raises(RemoteNotFound):
        sandbox.pay("nothing")
