"""The contract of all providers, run over each of them: what a new one needs is one class like these."""

import hashlib
import hmac
import json
from typing import ClassVar
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from keysat.core.errors import RemoteResponseInvalid
from keysat.core.money import DECIMALS
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import ProviderStatus, Webhook
from keysat.providers.btcpay.adapter import BTCPay
from keysat.providers.fake import Fake, FakeServer, fake_server
from keysat.providers.opennode import OpenNode
from keysat.providers.refusals import NotSupported
from keysat.providers.zaprite.adapter import Zaprite
from keysat.sandbox.client import SandboxClient

pytest.register_assert_rewrite("tests.providers.contract")

from tests.providers.callback_fake import CallbackFake, signed_form
from tests.providers.contract import (
    EXPIRED,
    INVALID,
    NONE,
    PARTIAL,
    PRICE,
    SETTLED,
    SignedIdContract,
    SignedWebhookContract,
    TokenWebhookContract,
    wanted,
)

SECRET = "webhook-secret-of-the-contract"
CREDENTIALS = {"api_key": "key-of-contract", "webhook_secret": SECRET}


def digest(body, secret):
    return hmac.new((SECRET if secret is None else secret).encode(), body, hashlib.sha256).hexdigest()


class FakeShop:
    """The fake provider, set to what a real one reports after each action."""

    def __init__(self, adapter=Fake):
        url, self.store = "fake://contract", uuid4().hex
        self.server: FakeServer = fake_server(url)
        self.server.api_keys[self.store] = CREDENTIALS["api_key"]
        self.provider = adapter(url, self.store, CREDENTIALS, deadline=5, max_bytes=100_000)

    def pay(self, invoice_id, amount, settled=ProviderStatus.SETTLED):
        before = self.server.snapshots[invoice_id]
        paid, charged = before.paid.amount + amount, before.charged.amount
        is_expired = before.status is ProviderStatus.EXPIRED
        status = before.status if is_expired or paid < charged else settled
        if paid < charged:
            exception = PaymentException.PARTIAL
        elif is_expired:
            exception = PaymentException.LATE
        else:
            exception = PaymentException.OVER if paid > charged else PaymentException.NONE
        self.server.say(invoice_id, status, exception, paid)

    def pay_unconfirmed(self, invoice_id, amount):
        self.pay(invoice_id, amount, ProviderStatus.PROCESSING)

    def expire(self, invoice_id):
        self.server.say(invoice_id, ProviderStatus.EXPIRED, self.server.snapshots[invoice_id].exception)

    def mark_settled(self, invoice_id):
        self.server.say(invoice_id, ProviderStatus.SETTLED, PaymentException.MARKED)

    def mark_invalid(self, invoice_id):
        self.server.say(invoice_id, ProviderStatus.INVALID, PaymentException.MARKED)

    def break_credentials(self):
        self.server.api_keys[self.store] = "another-key"

    def event(self, invoice_id):
        return json.dumps({"deliveryId": "delivery-1", "type": "paid", "invoiceId": invoice_id}).encode()

    def webhook(self, body, secret=None):
        return Webhook({"fake-sig": digest(body, secret)}, body)


class CallbackFakeShop(FakeShop):
    """The fake provider that signs the invoice's id with the API key."""

    def event(self, invoice_id):
        return urlencode({"id": invoice_id, "order_id": "order-1"}).encode()

    def webhook(self, body, secret=None):
        return Webhook({}, signed_form(CREDENTIALS["api_key"] if secret is None else secret, body))


class SandboxShop:
    """An adapter over HTTP to the sandbox, whose control side plays buyer and merchant."""

    def __init__(self, adapter, url, client):
        self.client, self.store, self.kind = client, uuid4().hex, adapter.kind
        credentials = {**CREDENTIALS, "api_key": f"key-of-{self.store}"}
        client.register_store(self.store, credentials["api_key"], kind=self.kind)
        self.provider = adapter(url, self.store, credentials, deadline=5, max_bytes=100_000)

    def pay(self, invoice_id, amount, confirmations=1):
        entry = next(found for found in self.client.ledger()["invoices"] if found["id"] == invoice_id)
        decimals = DECIMALS[entry["currency"]]
        whole, part = divmod(amount, 10**decimals)
        self.client.pay(invoice_id, f"{whole}.{part:0{decimals}}", confirmations=confirmations)

    def pay_unconfirmed(self, invoice_id, amount):
        self.pay(invoice_id, amount, confirmations=0)

    def expire(self, invoice_id):
        self.client.expire(invoice_id)

    def mark_settled(self, invoice_id):
        self.client.mark(invoice_id, "Settled")

    def mark_invalid(self, invoice_id):
        self.client.mark(invoice_id, "Invalid")

    def break_credentials(self):
        self.client.register_store(self.store, "another-key", kind=self.kind)


class BTCPayShop(SandboxShop):
    """A store at the sandbox that is reached as a BTCPay Server's."""

    def event(self, invoice_id):
        event = {"deliveryId": "delivery-1", "type": "InvoiceSettled", "storeId": self.store, "invoiceId": invoice_id}
        return json.dumps(event).encode()

    def webhook(self, body, secret=None):
        return Webhook({"BTCPay-Sig": f"sha256={digest(body, secret)}"}, body)


class ZapriteShop(SandboxShop):
    """A store at the sandbox that is reached as an organization at Zaprite."""

    def event(self, invoice_id):
        return json.dumps({"event": "order.change", "data": {"id": invoice_id, "status": "PAID"}}).encode()

    def webhook(self, body, secret=None):
        return Webhook({}, body, SECRET if secret is None else secret)


class OpenNodeShop(SandboxShop):
    """A store at the sandbox that is reached as an account at OpenNode."""

    def event(self, invoice_id):
        return urlencode({"id": invoice_id, "status": "paid", "order_id": "order-1", "price": "2100"}).encode()

    def webhook(self, body, secret=None):
        key = f"key-of-{self.store}" if secret is None else secret
        return Webhook({}, signed_form(key, body, "hashed_order"))


class TestFake(SignedWebhookContract):
    """The fake provider."""

    @pytest.fixture
    def provider_shop(self):
        return FakeShop()

    def test_paying_lightning_invoices_is_not_supported(self, provider_shop):
        with pytest.raises(NotSupported, match=r"^a fake provider can't pay a Lightning invoice\.$"):
            provider_shop.provider.pay_lightning_invoice("lnbc1", 1_000)
        with pytest.raises(NotSupported, match=r"^a fake provider can't look up a Lightning payment\.$"):
            provider_shop.provider.find_lightning_payment("00" * 32)


class TestCallbackFake(SignedIdContract):
    """The fake provider with a webhook URL for each invoice, and no find by our id."""

    @pytest.fixture
    def provider_shop(self):
        return CallbackFakeShop(CallbackFake)


class TestBTCPayAgainstTheSandbox(SignedWebhookContract):
    """BTCPay's adapter, against the sandbox."""

    @pytest.fixture
    def provider_shop(self, sandbox_server):
        with SandboxClient(sandbox_server.url) as client:
            yield BTCPayShop(BTCPay, sandbox_server.url, client)

    def test_late_payment_of_too_much_counts_once_it_is_confirmed_too(self, provider_shop):
        invoice_id = provider_shop.provider.create_invoice(wanted()).provider_invoice_id
        provider_shop.client.pay(invoice_id, late=True, confirmations=0)
        over = {"status": "Expired", "additionalStatus": "PaidOver"}
        provider_shop.client.set_faults([{"kind": "rewrite", "store": provider_shop.store, "fields": over}])
        try:
            assert provider_shop.provider.get_invoice(invoice_id).status is ProviderStatus.PROCESSING
            provider_shop.client.confirm(invoice_id)
            assert provider_shop.provider.get_invoice(invoice_id).exception is PaymentException.OVER
        finally:
            provider_shop.client.set_faults([])

    def test_late_payment_counts_once_it_is_confirmed(self, provider_shop):
        """BTCPay reports PaidLate as soon as it sees the payment, which may still be reversed."""
        invoice_id = provider_shop.provider.create_invoice(wanted()).provider_invoice_id
        provider_shop.client.pay(invoice_id, late=True, confirmations=0)
        assert provider_shop.provider.get_invoice(invoice_id).status is ProviderStatus.PROCESSING
        provider_shop.client.confirm(invoice_id)
        snapshot = provider_shop.provider.get_invoice(invoice_id)
        assert (snapshot.status, snapshot.exception) == (ProviderStatus.EXPIRED, PaymentException.LATE)


class TestZapriteAgainstTheSandbox(TokenWebhookContract):
    """Zaprite's adapter, against the sandbox."""

    # A late payment is a payment like others, a merchant's mark of an order isn't reported, and only confirmed money is
    # paid.
    readings: ClassVar = {
        "paid, not confirmed": (ProviderStatus.PROCESSING, NONE, 0),
        "paid late": (SETTLED, NONE, PRICE),
        "marked settled": (SETTLED, NONE, None),
        "marked settled after it expired": (SETTLED, NONE, None),
        "marked invalid": (INVALID, NONE, 0),
        "marked invalid after it was paid": (INVALID, NONE, PRICE),
    }

    @pytest.fixture
    def provider_shop(self, sandbox_server):
        with SandboxClient(sandbox_server.url) as client:
            yield ZapriteShop(Zaprite, sandbox_server.url, client)

    def test_refunded_order_is_refunded(self, provider_shop):
        invoice_id = self.open(provider_shop)
        provider_shop.pay(invoice_id, PRICE)
        provider_shop.client.refund(invoice_id)
        assert provider_shop.provider.get_invoice(invoice_id).status is ProviderStatus.REFUNDED

    def test_of_two_orders_for_one_of_ours_one_is_found(self, provider_shop):
        orders = [provider_shop.provider.create_invoice(wanted(order_id="ours-1")) for _ in range(2)]
        (found,) = provider_shop.provider.find_invoices("ours-1")
        assert found.created in orders

    def test_order_is_asked_for_by_its_own_id_alone(self, provider_shop):
        """Zaprite finds it by ours, too."""
        provider_shop.provider.create_invoice(wanted(order_id="ours-2"))
        with pytest.raises(RemoteResponseInvalid, match="another order than ours-2"):
            provider_shop.provider.get_invoice("ours-2")


class TestOpenNodeAgainstTheSandbox(SignedIdContract):
    """OpenNode's adapter, against the sandbox."""

    # What is underpaid waits for a person, only what is confirmed counts as paid, a charge without a transaction on the
    # chain was paid in full, and what a failed charge is, OpenNode describes nowhere.
    readings: ClassVar = {
        "part paid": (EXPIRED, PARTIAL, 2_000),
        "paid, not confirmed": (ProviderStatus.PROCESSING, NONE, 0),
        "paid late": (EXPIRED, PARTIAL, PRICE),
        "marked settled": (SETTLED, NONE, PRICE),
        "marked settled after it expired": (SETTLED, NONE, PRICE),
        "marked invalid": (ProviderStatus.UNKNOWN, NONE, None),
        "marked invalid after it was paid": (ProviderStatus.UNKNOWN, NONE, None),
    }

    @pytest.fixture
    def provider_shop(self, sandbox_server):
        with SandboxClient(sandbox_server.url) as client:
            yield OpenNodeShop(OpenNode, sandbox_server.url, client)

    def test_refunded_charge_is_refunded(self, provider_shop):
        invoice_id = self.open(provider_shop)
        provider_shop.pay(invoice_id, PRICE)
        provider_shop.client.refund(invoice_id)
        assert provider_shop.provider.get_invoice(invoice_id).status is ProviderStatus.REFUNDED
