"""The contract of every provider, as tests.

A provider's tests subclass `SignedWebhookContract`, `SignedIdContract` or `TokenWebhookContract`, by how its webhooks
are authenticated. Their fixture `provider_shop` returns a `Shop`. Amounts are in the smallest unit of the invoice's
currency.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Protocol
from urllib.parse import parse_qsl, urlencode
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keysat.core.errors import CredentialsRejected, RemoteNotFound
from keysat.core.money import Money
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import NewInvoice, Provider, ProviderStatus, ReceivedEvent, Webhook
from keysat.providers.refusals import NotSupported, WebhookRejected

PRICE = 2_100
OTHER_SECRET = "the-secret-of-somebody-else-1234"

PENDING, PROCESSING, SETTLED = ProviderStatus.PENDING, ProviderStatus.PROCESSING, ProviderStatus.SETTLED
EXPIRED, INVALID = ProviderStatus.EXPIRED, ProviderStatus.INVALID
NONE, PARTIAL, OVER = PaymentException.NONE, PaymentException.PARTIAL, PaymentException.OVER
LATE, MARKED = PaymentException.LATE, PaymentException.MARKED

STATES = {
    "untouched": ((), PENDING, NONE, 0),
    "part paid": ((("pay", 2_000),), PENDING, PARTIAL, 2_000),
    "paid, not confirmed": ((("pay_unconfirmed", PRICE),), PROCESSING, NONE, PRICE),
    "paid": ((("pay", PRICE),), SETTLED, NONE, PRICE),
    "paid in two parts": ((("pay", 2_000), ("pay", 100)), SETTLED, NONE, PRICE),
    "paid over": ((("pay", PRICE + 1),), SETTLED, OVER, PRICE + 1),
    "expired": ((("expire",),), EXPIRED, NONE, 0),
    "paid late": ((("expire",), ("pay", PRICE)), EXPIRED, LATE, PRICE),
    "expired underpaid": ((("pay", PRICE - 1), ("expire",)), EXPIRED, PARTIAL, PRICE - 1),
    "marked settled": ((("mark_settled",),), SETTLED, MARKED, 0),
    "marked settled after it expired": ((("expire",), ("mark_settled",)), SETTLED, MARKED, 0),
    "marked invalid": ((("mark_invalid",),), INVALID, MARKED, 0),
    "marked invalid after it was paid": ((("pay", PRICE), ("mark_invalid",)), INVALID, MARKED, PRICE),
}

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
ODD = ("ü", "\udce9", "\x00")
BODIES = st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode())


class Shop(Protocol):
    """A store at the provider, seen from both sides: our adapter, and what buyers and merchant do there."""

    provider: Provider

    def pay(self, invoice_id: str, amount: int) -> None: ...
    def pay_unconfirmed(self, invoice_id: str, amount: int) -> None: ...
    def expire(self, invoice_id: str) -> None: ...
    def mark_settled(self, invoice_id: str) -> None: ...
    def mark_invalid(self, invoice_id: str) -> None: ...
    def break_credentials(self) -> None:
        """From now on the provider rejects the adapter's credentials."""

    def event(self, invoice_id: str) -> bytes:
        """The body of a webhook about an invoice, as the provider sends it."""

    def webhook(self, body: bytes, secret: str | None = None) -> Webhook:
        """A webhook with that body, proven by the store's secret or another one."""


def wanted(price: Money | None = None, order_id: str = "order-1") -> NewInvoice:
    return NewInvoice(order_id, price or Money(PRICE, "BTC"), "A license of Editor", "buyer@example.com")


def rejected(provider_shop, webhook):
    with pytest.raises(WebhookRejected) as caught:
        provider_shop.provider.parse_webhook(webhook)
    assert str(caught.value).endswith(".")


def read_or_rejected(provider_shop, body):
    with suppress(WebhookRejected):
        event = provider_shop.provider.parse_webhook(provider_shop.webhook(body))
        assert isinstance(event, ReceivedEvent)
        assert isinstance(event.delivery_id, str)
        assert isinstance(event.kind, str)
        assert isinstance(event.provider_invoice_id, str | None)
        assert isinstance(event.order_id, str | None)


class ProviderContract:
    """Each test applies to every provider. `readings` replaces those of `STATES` that this one can't distinguish."""

    readings: ClassVar[dict[str, tuple]] = {}

    def decoded(self, body):
        """The fields of a webhook's body."""
        return json.loads(body)

    def encoded(self, fields):
        return json.dumps(fields).encode()

    def open(self, provider_shop: Shop, price: Money | None = None) -> str:
        return provider_shop.provider.create_invoice(wanted(price)).provider_invoice_id

    def test_a_new_invoice_is_pending_with_our_price_and_order_id(self, provider_shop):
        created = provider_shop.provider.create_invoice(wanted(order_id="0198c2d4-order"))
        snapshot = provider_shop.provider.get_invoice(created.provider_invoice_id)
        assert snapshot.provider_invoice_id == created.provider_invoice_id
        assert (snapshot.status, snapshot.exception) == (PENDING, NONE)
        assert snapshot.charged == Money(PRICE, "BTC")
        assert snapshot.paid == Money(0, "BTC")
        assert snapshot.order_id == "0198c2d4-order"
        assert snapshot.provider_status

    def test_a_new_invoice_has_a_page_where_the_buyer_pays(self, provider_shop):
        assert provider_shop.provider.create_invoice(wanted()).checkout_url.startswith(("http://", "https://"))

    def test_the_end_of_the_time_to_pay_is_known_at_once_and_at_each_check(self, provider_shop):
        created = provider_shop.provider.create_invoice(wanted())
        assert created.expires_at is not None
        assert created.expires_at.utcoffset() == timedelta(0)
        assert timedelta(minutes=10) < created.expires_at - datetime.now(UTC) < timedelta(days=2)
        assert provider_shop.provider.get_invoice(created.provider_invoice_id).expires_at == created.expires_at

    @pytest.mark.parametrize(
        "price",
        [Money(1, "BTC"), Money(123_456_789, "BTC"), Money(1_999, "USD"), Money(1, "EUR"), Money(1_000_010, "EUR")],
        ids=str,
    )
    def test_prices_survive_to_the_smallest_unit(self, provider_shop, price):
        assert provider_shop.provider.get_invoice(self.open(provider_shop, price)).charged == price

    @pytest.mark.parametrize("currency", ["USD", "EUR"])
    def test_payments_are_in_the_prices_currency(self, provider_shop, currency):
        invoice_id = self.open(provider_shop, Money(1_999, currency))
        provider_shop.pay(invoice_id, 1_998)
        assert provider_shop.provider.get_invoice(invoice_id).paid == Money(1_998, currency)

    def test_two_creates_give_two_invoices(self, provider_shop):
        first, second = self.open(provider_shop), self.open(provider_shop)
        assert first != second
        provider_shop.pay(first, PRICE)
        assert provider_shop.provider.get_invoice(first).status is SETTLED
        assert provider_shop.provider.get_invoice(second).status is PENDING

    @pytest.mark.parametrize("state", STATES)
    def test_each_state_of_payment_has_its_reading(self, provider_shop, state):
        steps, *usual = STATES[state]
        status, exception, paid = self.readings.get(state, usual)
        invoice_id = self.open(provider_shop)
        for action, *amount in steps:
            getattr(provider_shop, action)(invoice_id, *amount)
        snapshot = provider_shop.provider.get_invoice(invoice_id)
        assert (snapshot.status, snapshot.exception) == (status, exception)
        assert snapshot.paid == (None if paid is None else Money(paid, "BTC"))
        assert snapshot.charged == Money(PRICE, "BTC")

    def test_invoices_are_found_by_our_order_id(self, provider_shop):
        if not provider_shop.provider.finds_by_order:
            with pytest.raises(NotSupported, match="find an invoice by our id"):
                provider_shop.provider.find_invoices("order-1")
            return
        order_id = f"order-{uuid4()}"
        assert provider_shop.provider.find_invoices(order_id) == []
        created = provider_shop.provider.create_invoice(wanted(order_id=order_id))
        provider_shop.provider.create_invoice(wanted(order_id=f"{order_id}-other"))
        (found,) = provider_shop.provider.find_invoices(order_id)
        assert found.created == created
        assert found.snapshot == provider_shop.provider.get_invoice(created.provider_invoice_id)

    def test_an_invoice_that_a_webhook_names_tells_its_order_and_its_page(self, provider_shop):
        """Or it is found by our id."""
        created = provider_shop.provider.create_invoice(wanted(order_id="0198c2d4-named"))
        if provider_shop.provider.finds_by_order:
            with pytest.raises(NotSupported, match="finds invoices by our id"):
                provider_shop.provider.find_named(created.provider_invoice_id)
            return
        found = provider_shop.provider.find_named(created.provider_invoice_id)
        assert (found.created, found.snapshot.order_id) == (created, "0198c2d4-named")
        assert found.snapshot == provider_shop.provider.get_invoice(created.provider_invoice_id)

    @pytest.mark.parametrize("invoice_id", ["nothing-of-that-id", "a/../b", "%2e", "ü ?&#"])
    def test_an_unknown_invoice_is_not_found(self, provider_shop, invoice_id):
        with pytest.raises(RemoteNotFound, match=r"\(404\)\.$"):
            provider_shop.provider.get_invoice(invoice_id)

    def test_right_credentials_pass(self, provider_shop):
        provider_shop.provider.check_credentials()

    def test_wrong_credentials_are_rejected_by_every_call(self, provider_shop):
        invoice_id = self.open(provider_shop)
        provider_shop.break_credentials()
        by_order = provider_shop.provider.finds_by_order
        find = provider_shop.provider.find_invoices if by_order else provider_shop.provider.find_named
        for call in (
            lambda: provider_shop.provider.create_invoice(wanted()),
            lambda: provider_shop.provider.get_invoice(invoice_id),
            lambda: find("order-1" if by_order else invoice_id),
            provider_shop.provider.check_credentials,
        ):
            with pytest.raises(CredentialsRejected, match="rejected our credentials"):
                call()

    def test_a_genuine_webhook_names_its_invoice(self, provider_shop):
        invoice_id = self.open(provider_shop)
        webhook = provider_shop.webhook(provider_shop.event(invoice_id))
        event = provider_shop.provider.parse_webhook(webhook)
        assert event.provider_invoice_id == invoice_id
        assert event.delivery_id
        assert event.kind
        assert provider_shop.provider.parse_webhook(webhook) == event

    def test_a_webhook_with_another_secret_is_rejected(self, provider_shop):
        body = provider_shop.event("some-invoice")
        rejected(provider_shop, provider_shop.webhook(body, OTHER_SECRET))
        rejected(provider_shop, provider_shop.webhook(body, ""))
        rejected(provider_shop, Webhook({}, body))
        rejected(provider_shop, provider_shop.webhook(b""))

    def test_no_body_with_the_right_secret_can_do_worse_than_be_rejected(self, provider_shop):
        @settings(max_examples=100, deadline=None, database=None)
        @given(BODIES)
        def check(body):
            read_or_rejected(provider_shop, body)

        check()

    def test_no_field_of_a_genuine_event_can_do_worse_than_have_it_rejected(self, provider_shop):
        event = self.decoded(provider_shop.event("some-invoice"))

        @settings(max_examples=100, deadline=None, database=None)
        @given(st.sampled_from([*event, "storeId"]), JSON)
        def check(field, value):
            read_or_rejected(provider_shop, self.encoded({**event, field: value}))

        check()

    def test_no_body_passes_with_another_secret(self, provider_shop):
        @settings(max_examples=100, deadline=None, database=None)
        @given(BODIES)
        def check(body):
            rejected(provider_shop, provider_shop.webhook(body, OTHER_SECRET))

        check()


class SignedWebhookContract(ProviderContract):
    """Each test applies to every provider that signs a webhook's body."""

    def test_a_webhook_that_was_changed_on_the_way_is_rejected(self, provider_shop):
        body = provider_shop.event("some-invoice")
        signed = provider_shop.webhook(body).headers
        forged = body.replace(b"some-invoice", b"more-invoice")
        assert forged != body
        rejected(provider_shop, Webhook(signed, forged))
        rejected(provider_shop, Webhook(signed, body[:-1]))
        rejected(provider_shop, Webhook(signed, b""))
        rejected(provider_shop, Webhook(dict.fromkeys(signed, ""), body))
        rejected(provider_shop, Webhook({name: value[:-1] for name, value in signed.items()}, body))
        rejected(provider_shop, Webhook({name: value + "0" for name, value in signed.items()}, body))

    def test_a_signature_with_odd_characters_is_rejected(self, provider_shop):
        for signature in ODD:
            rejected(provider_shop, Webhook(dict.fromkeys(provider_shop.webhook(b"").headers, signature), b"{}"))

    def test_no_body_passes_with_the_signature_of_another_one(self, provider_shop):
        @settings(max_examples=100, deadline=None, database=None)
        @given(BODIES)
        def check(body):
            rejected(provider_shop, Webhook(provider_shop.webhook(body + b" ").headers, body))

        check()


class SignedIdContract(ProviderContract):
    """Each test holds for every provider whose webhook is a form with the signature of the invoice's id alone.

    `Shop.webhook` adds that signature to a form.
    """

    def decoded(self, body):
        return dict(parse_qsl(body.decode()))

    def encoded(self, fields):
        return urlencode({name: str(value) for name, value in fields.items()}).encode()

    def test_a_webhook_whose_invoice_was_changed_on_the_way_is_rejected(self, provider_shop):
        signed = provider_shop.webhook(provider_shop.event("some-invoice")).body
        rejected(provider_shop, Webhook({}, signed.replace(b"some-invoice", b"more-invoice")))
        rejected(provider_shop, Webhook({}, signed + b"&id=more-invoice"))
        rejected(provider_shop, Webhook({}, b"id=more-invoice&" + signed))
        rejected(provider_shop, Webhook({}, b""))

    def test_a_webhook_with_nearly_the_signature_is_rejected(self, provider_shop):
        signed = self.decoded(provider_shop.webhook(provider_shop.event("some-invoice")).body)
        unsigned = self.decoded(provider_shop.event("some-invoice"))
        (name,) = set(signed) - set(unsigned)
        for wrong in ("", signed[name][:-1], signed[name] + "0", signed[name][::-1], "ü", "\x00"):
            rejected(provider_shop, Webhook({}, self.encoded({**unsigned, name: wrong})))
        rejected(provider_shop, Webhook({}, self.encoded(signed) + f"&{name}={signed[name]}".encode()))

    def test_no_invoice_passes_with_the_signature_of_another_one(self, provider_shop):
        signed = self.decoded(provider_shop.webhook(provider_shop.event("some-invoice")).body)

        @settings(max_examples=100, deadline=None, database=None)
        @given(TEXTS)
        def check(invoice_id):
            rejected(provider_shop, Webhook({}, self.encoded({**signed, "id": invoice_id})))

        check()

    def test_a_repeated_body_is_one_delivery_and_another_body_another_one(self, provider_shop):
        first, second = (
            provider_shop.provider.parse_webhook(provider_shop.webhook(provider_shop.event(invoice_id)))
            for invoice_id in ("first", "second")
        )
        assert first.delivery_id != second.delivery_id


class TokenWebhookContract(ProviderContract):
    """Each test applies to every provider that signs nothing and is identified by the token in our URL."""

    def test_a_webhook_with_nearly_the_token_is_rejected(self, provider_shop):
        body = provider_shop.event("some-invoice")
        token = provider_shop.webhook(body).token
        for wrong in (token[:-1], token[1:], f"{token}0", f" {token}", token.upper(), *ODD):
            rejected(provider_shop, Webhook({}, body, wrong))

    def test_a_repeated_body_is_one_delivery_and_another_body_another_one(self, provider_shop):
        first, second = (
            provider_shop.provider.parse_webhook(provider_shop.webhook(provider_shop.event(invoice_id)))
            for invoice_id in ("first", "second")
        )
        assert first.delivery_id != second.delivery_id
