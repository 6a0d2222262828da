from concurrent.futures import ThreadPoolExecutor

import pytest

from keysat.core.errors import RemoteNotFound, RemoteRefused


def entry(client, invoice):
    return next(found for found in client.ledger()["invoices"] if found["id"] == invoice["id"])


def test_a_full_payment_settles(shop, client, clock):
    invoice = shop.create(metadata={"orderId": "42"})
    clock.now += 3.5
    client.pay(invoice["id"])
    assert shop.state(invoice) == "Settled/None"
    assert shop.read(invoice)["paidAmount"] == "0.00002100"
    truth = entry(client, invoice)
    assert truth["paid_at"] == truth["payments"][0]["at"] == clock.now
    assert (truth["order_id"], truth["refunded"], truth["payments"][0]["amount"]) == ("42", False, "0.00002100")


def test_an_unconfirmed_payment_is_processing_until_it_confirms(shop, client, clock):
    invoice = shop.create()
    client.pay(invoice["id"], confirmations=0)
    assert shop.state(invoice) == "Processing/None"
    clock.now += 10_000
    assert shop.state(invoice) == "Processing/None"
    client.confirm(invoice["id"])
    assert shop.state(invoice) == "Settled/None"
    assert entry(client, invoice)["paid_at"] == clock.now - 10_000


def test_more_than_asked_is_paid_over(shop, client):
    invoice = shop.create()
    client.pay(invoice["id"], "0.00002101")
    assert shop.state(invoice) == "Settled/PaidOver"


def test_money_after_settling_makes_it_paid_over(shop, client):
    invoice = shop.create()
    client.pay(invoice["id"])
    client.pay(invoice["id"], "0.00000001")
    assert shop.state(invoice) == "Settled/PaidOver"


def test_less_than_asked_stays_new_and_then_expires_as_partial(shop, client):
    invoice = shop.create()
    client.pay(invoice["id"], "0.00002000")
    assert shop.state(invoice) == "New/PaidPartial"
    assert entry(client, invoice)["paid_at"] is None
    client.expire(invoice["id"])
    assert shop.state(invoice) == "Expired/PaidPartial"


def test_parts_add_up(shop, client, clock):
    invoice = shop.create()
    client.pay(invoice["id"], "0.00002000")
    clock.now += 5
    assert client.pay(invoice["id"])["paid_amount"] == "0.00002100"
    assert shop.state(invoice) == "Settled/None"
    assert entry(client, invoice)["paid_at"] == clock.now


def test_an_unpaid_invoice_expires_by_itself(shop, client, clock):
    invoice = shop.create()
    clock.now = invoice["expirationTime"] - 1
    assert shop.state(invoice) == "New/None"
    clock.now += 1
    assert shop.state(invoice) == "Expired/None"
    assert shop.list(status="Expired")[0]["id"] == invoice["id"]


def test_money_for_an_expired_invoice_is_late(shop, client):
    full, part = shop.create(), shop.create()
    for invoice in (full, part):
        client.expire(invoice["id"])
    client.pay(full["id"])
    client.pay(part["id"], "0.00000001")
    assert (shop.state(full), shop.state(part)) == ("Expired/PaidLate", "Expired/PaidPartial")
    client.pay(part["id"])
    assert shop.state(part) == "Expired/PaidLate"
    assert entry(client, full)["paid_at"] is not None


def test_late_expires_and_pays_in_one_step(shop, client):
    full, part, unconfirmed = shop.create(), shop.create(), shop.create()
    client.pay(full["id"], late=True)
    client.pay(part["id"], "0.00000001", late=True)
    client.pay(unconfirmed["id"], late=True, confirmations=0)
    client.confirm(unconfirmed["id"])
    states = [shop.state(invoice) for invoice in (full, part, unconfirmed)]
    assert states == ["Expired/PaidLate", "Expired/PaidPartial", "Expired/PaidLate"]


def test_a_refund_is_remembered_and_invalidates(shop, client):
    invoice = shop.create()
    client.pay(invoice["id"])
    client.refund(invoice["id"])
    assert shop.state(invoice) == "Invalid/Marked"
    truth = entry(client, invoice)
    assert truth["refunded"]
    assert truth["paid_at"] is not None


def test_a_mark_is_no_payment(shop, client):
    invoice = shop.create()
    client.mark(invoice["id"], "Settled")
    assert shop.state(invoice) == "Settled/Marked"
    assert entry(client, invoice)["paid_at"] is None
    client.pay(invoice["id"])
    assert shop.state(invoice) == "Settled/Marked"
    assert entry(client, invoice)["paid_at"] is not None


def test_a_top_up_takes_any_amount(shop, client):
    invoice = shop.create(None)
    assert (invoice["type"], invoice["amount"]) == ("TopUp", "0.00000000")
    client.pay(invoice["id"], "0.5")
    assert shop.state(invoice) == "Settled/None"
    assert shop.read(invoice)["amount"] == "0.50000000"


def test_an_invoice_over_nothing_is_settled_at_once(shop, client):
    invoice = shop.create("0")
    assert shop.state(invoice) == "Settled/None"
    assert entry(client, invoice)["paid_at"] == entry(client, invoice)["created_at"]


def test_racing_payments_are_all_kept(shop, client):
    invoice = shop.create()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.pay(invoice["id"], "0.00000100"), range(30)))
    truth = entry(client, invoice)
    assert (truth["paid_amount"], len(truth["payments"])) == ("0.00003000", 30)
    assert truth["paid_at"] == truth["payments"][20]["at"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda client, id_: client.pay(id_, "0"),
        lambda client, id_: client.pay(id_, "-1"),
        lambda client, id_: client.pay(id_, "much"),
        lambda client, id_: client.pay(id_, confirmations=2),
        lambda client, id_: client.pay(id_, 1.5),
        lambda client, id_: client.confirm(id_),
        lambda client, id_: client.refund(id_),
        lambda client, id_: client.mark(id_, "New"),
        lambda client, id_: client.mark(id_, "Odd"),
    ],
)
def test_wrong_orders_are_refused_in_a_sentence(shop, client, wrong):
    invoice = shop.create()
    with pytest.raises(RemoteRefused, match=r"refused: .+\.$"):
        wrong(client, invoice["id"])
    assert shop.state(invoice) == "New/None"


def test_what_contradicts_the_state_is_refused(shop, client):
    invoice = shop.create()
    client.pay(invoice["id"])
    for wrong in (
        lambda: client.pay(invoice["id"]),
        lambda: client.expire(invoice["id"]),
        lambda: client.pay(invoice["id"], "1", late=True),
        lambda: client.mark(invoice["id"], "Settled"),
        lambda: client.refund(invoice["id"]) and client.refund(invoice["id"]),
    ):
        with pytest.raises(RemoteRefused):
            wrong()


def test_an_unknown_invoice_is_not_found(client):
    with pytest.raises(RemoteNotFound):
        client.pay("nothing")
