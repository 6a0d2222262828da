"""A provider's webhooks, recorded once and delivered in any disorder. For stories and benchmarks.

The sandbox plays purchases and sends its webhooks to a recorder. `deliver` sends the recorded ones to Keysat, any
number of times, in any order, with forged ones in between.
"""

import hashlib
import hmac
import json
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import local

import requests
from sqlalchemy import func, select

from keysat.core.db import reading
from keysat.models import Invoice, License, ProviderEvent
from keysat.sales.purchase import Order
from tests.builders import SECRET, load_account, make_account, open_invoice
from tests.nodes import wait_until
from tests.providers.servers import recording

SENDERS = 8
_connections = local()


@dataclass(frozen=True)
class Delivery:
    """A webhook: its body and its signature."""

    body: bytes
    signature: str

    @property
    def kind(self):
        return json.loads(self.body)["type"]

    @property
    def invoice_id(self):
        return json.loads(self.body)["invoiceId"]

    def forged(self):
        """The same with another event in it, which the signature doesn't fit."""
        fields = {**json.loads(self.body), "type": "InvoiceSettled", "deliveryId": uuid.uuid4().hex}
        return Delivery(json.dumps(fields).encode(), self.signature)

    def under_a_new_id(self):
        """A redelivery: the same event with a new signature and a new id."""
        fields = {**json.loads(self.body), "deliveryId": uuid.uuid4().hex, "isRedelivery": True}
        body = json.dumps(fields).encode()
        return Delivery(body, "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest())


# The actions of buyers and merchants. Each takes the sandbox's client and the invoice's id.
WAYS = (
    lambda shop, invoice_id: shop.pay(invoice_id),
    lambda shop, invoice_id: shop.pay(invoice_id, "0.00042"),
    lambda shop, invoice_id: shop.pay(invoice_id, late=True),
    lambda shop, invoice_id: (shop.pay(invoice_id, "0.0001"), shop.expire(invoice_id)),
    lambda shop, invoice_id: (shop.pay(invoice_id, "0.0001"), shop.pay(invoice_id)),
    lambda shop, invoice_id: shop.expire(invoice_id),
    lambda shop, invoice_id: shop.mark(invoice_id, "Invalid"),
    lambda shop, invoice_id: (shop.pay(invoice_id, confirmations=0), shop.confirm(invoice_id)),
    lambda shop, invoice_id: (shop.expire(invoice_id), shop.mark(invoice_id, "Settled")),
    lambda shop, invoice_id: None,
)


def play(shop, url, account, count, *, product="editor", only_paid=False):
    """Open `count` invoices on an account of its own, let each go its way, and record the webhooks in their order."""
    with recording() as recorder:
        shop.register_store(account, f"key-of-{account}", f"{recorder.url}/hook", SECRET)
        make_account(account, kind="btcpay", base_url=url, store_id=account, api_key=f"key-of-{account}")
        shop.set_webhooks()
        for number in range(count):
            invoice_id = open_invoice(Order(product, account=account, buyer_note=str(number)))
            with reading() as session:
                theirs = session.scalars(select(Invoice.provider_invoice_id).where(Invoice.id == invoice_id)).one()
            WAYS[0 if only_paid else number % len(WAYS)](shop, theirs)
        counts = wait_until(lambda: all_delivered(shop), timeout=120)
        shop.set_webhooks(drop=1.0)
        assert counts["failed"] == 0
        return [Delivery(request.body, request.headers["btcpay-sig"]) for request in recorder.requests]


def all_delivered(shop):
    """The sandbox's numbers, once no webhook is pending."""
    counts = shop.ledger()["webhooks"]
    return counts if counts["sent"] == counts["delivered"] + counts["failed"] else None


def badly(deliveries, copies=5, forged=0.1, seed=1):
    """Each so many times, some of them forged besides, all shuffled."""
    chance = random.Random(seed)
    many = [delivery for delivery in deliveries for _ in range(copies)]
    many += [delivery.forged() for delivery in chance.sample(many, int(len(many) * forged))]
    chance.shuffle(many)
    return many


def deliver(web_url, account, deliveries, senders=1):
    """Post them all, from one sender in order or from several at once. Returns the number of responses by status."""
    url = f"{web_url}/v1/btcpay/webhook/{load_account(account).id}"

    def post(delivery):
        if not hasattr(_connections, "session"):
            _connections.session = requests.Session()
            _connections.session.trust_env = False
        return _connections.session.post(
            url, data=delivery.body, headers={"BTCPay-Sig": delivery.signature}, timeout=120
        ).status_code

    with ThreadPoolExecutor(senders) as pool:
        statuses = list(pool.map(post, deliveries))
    return {status: statuses.count(status) for status in set(statuses)}


def await_quiet(timeout=120):
    """Wait until every stored event is handled and every settled invoice that may have its license has it."""

    def owed():
        with reading() as session:
            events = session.scalar(select(func.count()).where(ProviderEvent.handled_at.is_(None)))
            licenses = session.scalar(
                select(func.count()).where(Invoice.status == "settled", Invoice.fulfilled_at.is_(None))
            )
        return events + licenses

    wait_until(lambda: owed() == 0, timeout)


def outcome(account):
    """What became of an account's invoices, in order: status, exception, review, paid amount, number of licenses."""
    licenses = select(func.count()).where(License.invoice_id == Invoice.id).scalar_subquery()
    wanted = (
        select(Invoice.status, Invoice.exception, Invoice.review_reason, Invoice.paid_amount, licenses)
        .where(Invoice.provider_account_id == load_account(account).id)
        .order_by(Invoice.id)
    )
    with reading() as session:
        return [tuple(row) for row in session.execute(wanted)]
