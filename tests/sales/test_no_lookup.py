"""A provider that finds no invoice by our id: what a died purchase leaves is found by a webhook, or closed."""

from urllib.parse import urlencode

import pytest

from keysat.accounts.inbox import store
from keysat.core.db import transaction
from keysat.core.money import Money
from keysat.core.settings import load_settings
from keysat.invoices.draft import DRAFT_LIFE, IN_PROGRESS
from keysat.models import Invoice
from keysat.providers import registry
from keysat.providers.base import NewInvoice, ProviderStatus, Webhook
from keysat.providers.registry import provider_for
from keysat.sales.purchase import Order
from keysat.tasks.tasks import handle_provider_event
from tests.builders import (
    PRICE,
    check_invoice,
    load_account,
    load_invoice,
    make_account,
    make_catalog,
    open_invoice,
    set_account,
    set_columns,
)
from tests.providers.callback_fake import CallbackFake, signed_form

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker")

KEYED = Order("editor", idempotency_key="purchase:0b6f6d0e")


@pytest.fixture
def server(fake, monkeypatch):
    """The ledger of a provider that finds nothing by our id, with its one account here."""
    monkeypatch.setitem(registry._KINDS, CallbackFake.kind, CallbackFake)
    make_account(kind=CallbackFake.kind)
    make_catalog()
    return fake


@pytest.fixture
def lost(server):
    """A draft whose process died after the provider made the invoice; returns our row and their id."""
    draft_id = open_invoice(KEYED)
    made = load_invoice(draft_id).provider_invoice_id
    set_columns(draft_id, provider_invoice_id=None, checkout_url=None)
    return load_invoice(draft_id), made


def call_back(order_id, invoice_id):
    """Let the provider's webhook come in and be handled."""
    account, form = load_account(), urlencode({"id": invoice_id, "order_id": order_id}).encode()
    body = signed_form("key-of-test-store", form)
    event = provider_for(account).parse_webhook(Webhook({}, body))
    with transaction() as session:
        event_id = store(session, account.id, event, body)
    handle_provider_event.apply(args=[str(event_id)], throw=True)


def age(invoice_id, by):
    set_columns(invoice_id, created_at=Invoice.created_at - by, asked_at=Invoice.asked_at - by)


def test_each_invoice_carries_the_accounts_webhook_url(server):
    invoice = load_invoice(open_invoice(Order("editor")))
    expected = f"{load_settings().url}/v1/callback/webhook/{load_account().id}"
    assert CallbackFake.callbacks[invoice.provider_invoice_id] == expected


def test_webhook_finds_the_draft_it_names(lost, server):
    draft, made = lost
    server.say(made, ProviderStatus.SETTLED, paid=PRICE)
    call_back(draft.id, made)
    adopted = load_invoice(draft.id)
    assert (adopted.provider_invoice_id, adopted.status) == (made, "settled")
    assert adopted.checkout_url.endswith(made)


def test_webhook_about_another_order_adopts_nothing(lost, server):
    """Its body is proven by the invoice's id alone, so the order in it may be another's."""
    draft, _ = lost
    wanted = NewInvoice("an-order-of-a-stranger", Money(PRICE, "BTC"), "Editor")
    second = provider_for(load_account()).create_invoice(wanted).provider_invoice_id
    server.say(second, ProviderStatus.SETTLED, paid=PRICE)
    call_back(draft.id, second)
    assert load_invoice(draft.id).is_draft


def test_draft_is_closed_in_time_without_a_question(lost, server):
    draft, _ = lost
    asked = server.requests
    result = check_invoice(draft.id)
    assert (result.outcome.action, result.provider_status) == ("keep", "nothing, since it finds no invoice by our id")
    age(draft.id, DRAFT_LIFE)
    assert check_invoice(draft.id).outcome.action == "invalidate"
    assert (load_invoice(draft.id).status, server.requests) == ("invalid", asked)


def test_draft_without_a_question_closes_no_breaker(lost):
    draft, _ = lost
    set_account(failure_count=2)
    check_invoice(draft.id)
    assert load_account().failure_count == 2


def test_closed_draft_is_settled_once_its_webhook_comes(lost, server):
    draft, made = lost
    age(draft.id, DRAFT_LIFE)
    check_invoice(draft.id)
    server.say(made, ProviderStatus.SETTLED, paid=PRICE)
    call_back(draft.id, made)
    assert load_invoice(draft.id).status == "settled"


def test_buyer_who_tries_again_gets_another_invoice(lost, server):
    draft, made = lost
    age(draft.id, IN_PROGRESS)
    assert open_invoice(KEYED) == draft.id
    shown = load_invoice(draft.id)
    assert shown.provider_invoice_id != made
    assert shown.checkout_url.endswith(shown.provider_invoice_id)
