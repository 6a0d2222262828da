"""The contract of all providers, run over each of them: what a new one needs is one class like these."""

import hashlib
import hmac
import json
from uuid import uuid4

import pytest

from keysat.embedded.sandbox.client import SandboxClient
from keysat.models.invoice import PaymentException
from keysat.money import DECIMALS
from keysat.providers.base import NotSupported, ProviderStatus
from keysat.providers.btcpay import BTCPay
from keysat.providers.fake import Fake, FakeServer, fake_server

pytest.register_assert_rewrite("tests.providers.contract")

from tests.providers.contract import ProviderContract, wanted

SECRET = "webhook-secret-of-the-contract"
CREDENTIALS = {"api_key": "key-of-contract", "webhook_secret": SECRET}


def digest(body, secret):
    return hmac.new((SECRET if secret is None else secret).encode(), body, hashlib.sha256).hexdigest()


class FakeShop:
    """The fake provider, told what a real one would make of each act."""

    def __init__(self):
        url, self.store = "fake://contract", uuid4().hex
        self.server: FakeServer = fake_server(url)
        self.server.api_keys[self.store] = CREDENTIALS["api_key"]
        self.provider = Fake(url, self.store, CREDENTIALS, deadline=5, max_bytes=100_000)

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

    def sign(self, body, secret=None):
        return {"fake-sig": digest(body, secret)}


class BTCPayShop:
    """BTCPay's adapter over HTTP to the sandbox, whose control side plays buyer and merchant."""

    def __init__(self, url, client):
        self.client, self.store = client, uuid4().hex
        client.register_store(self.store, CREDENTIALS["api_key"])
        self.provider = BTCPay(url, self.store, CREDENTIALS, deadline=5, max_bytes=100_000)

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
        self.client.register_store(self.store, "another-key")

    def event(self, invoice_id):
        event = {"deliveryId": "delivery-1", "type": "InvoiceSettled", "storeId": self.store, "invoiceId": invoice_id}
        return json.dumps(event).encode()

    def sign(self, body, secret=None):
        return {"BTCPay-Sig": f"sha256={digest(body, secret)}"}


class TestFake(ProviderContract):
    """The fake provider."""

    @pytest.fixture
    def shop(self):
        return FakeShop()

    def test_paying_lightning_invoices_is_not_supported(self, shop):
        with pytest.raises(NotSupported, match=r"^a fake provider can't pay a Lightning invoice\.$"):
            shop.provider.pay_lightning_invoice("lnbc1", 1_000)
        with pytest.raises(NotSupported, match=r"^a fake provider can't look up a Lightning payment\.$"):
            shop.provider.find_lightning_payment("00" * 32)


class TestBTCPayAgainstTheSandbox(ProviderContract):
    """BTCPay's adapter, against the sandbox."""

    @pytest.fixture
    def shop(self, sandbox):
        with SandboxClient(sandbox.url) as client:
            yield BTCPayShop(sandbox.url, client)

    def test_late_payment_counts_once_it_is_confirmed(self, shop):
        """BTCPay says PaidLate as soon as it sees the payment, which may still be taken back."""
        invoice_id = shop.provider.create_invoice(wanted()).provider_invoice_id
        shop.client.pay(invoice_id, late=True, confirmations=0)
        assert shop.provider.get_invoice(invoice_id).status is ProviderStatus.PROCESSING
        shop.client.confirm(invoice_id)
        snapshot = shop.provider.get_invoice(invoice_id)
        assert (snapshot.status, snapshot.exception) == (ProviderStatus.EXPIRED, PaymentException.LATE)
