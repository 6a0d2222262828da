"""The samples have the fields of the events that a sale really makes."""

import json

import pytest
from sqlalchemy import select

from keysat.codes.manage import NewCode, add_code
from keysat.core.db import DATABASE, reading, transaction
from keysat.licenses.edit import replace_key
from keysat.licenses.keys import verify
from keysat.licenses.machines import activate, deactivate
from keysat.licenses.seats import Caller
from keysat.licenses.withdraw import change_status
from keysat.models import OutboundEvent
from keysat.models.discount_code import CodeKind
from keysat.models.license import LicenseStatus
from keysat.providers.base import ProviderStatus
from keysat.queue.outbox import EventType
from keysat.sales.purchase import Order
from keysat.sales.renew import renew
from keysat.subscriptions.terms import cancel_subscription
from keysat.webhooks.samples import sample
from tests.builders import check_invoice, issue_now, load_invoice, load_licenses, open_invoice
from tests.renewals import make_recurring, pay

NOT_OF_A_SALE = {
    *(EventType.TIP_SENT, EventType.TIP_FAILED, EventType.ENDPOINT_DISABLED, EventType.INVOICE_REVIEW_NEEDED),
    *(EventType.LICENSE_EXPIRING_SOON, EventType.LICENSE_EXPIRED),
}


@pytest.fixture
def events(fake_shop, signer, new_endpoint):
    """The data of each kind of event of a sale with a code, from the purchase to the revoked license."""
    new_endpoint("https://shop.example.com/hooks")
    make_recurring()
    with transaction() as session:
        add_code(session, NewCode("SPRING", CodeKind.PERCENT, 2_500), actor="cli")
    for status in (ProviderStatus.EXPIRED, ProviderStatus.INVALID, ProviderStatus.SETTLED):
        order = Order("editor", code="spring", buyer_email="buyer@example.com")
        invoice = load_invoice(open_invoice(order))
        fake_shop.say(invoice.provider_invoice_id, status, paid=15_750 if status is ProviderStatus.SETTLED else None)
        check_invoice(invoice.id)
    issue_now(invoice.id, signer.key_id)
    [row] = load_licenses(invoice.id)
    use = (DATABASE, lambda text: verify(text, signer.public_key), signer.key_for(row), Caller.of("desk"))
    activate(*use)
    deactivate(*use)
    with transaction() as session:
        cancel_subscription(session, row.id, "cli")
    renewal = load_invoice(renew(DATABASE, row.id, "page", lambda invoice_id: f"https://shop.example.com/{invoice_id}"))
    pay(fake_shop, renewal, signer)
    with transaction() as session:
        replace_key(session, row.id, "cli", "leaked")
        for target in (LicenseStatus.SUSPENDED, LicenseStatus.ACTIVE, LicenseStatus.REVOKED):
            change_status(session, row.id, target, "cli", "because")
    with reading() as session:
        rows = session.execute(select(OutboundEvent.event_type, OutboundEvent.body)).all()
    return {event_type: json.loads(body)["data"] for event_type, body in rows}


def test_samples_have_the_fields_of_their_events(events):
    assert set(events) == set(EventType) - NOT_OF_A_SALE
    for event_type, data in events.items():
        assert set(sample(EventType(event_type))) == {*data, "sample"}, event_type


def test_issued_license_names_its_buyer_and_price(events):
    issued = events[EventType.LICENSE_ISSUED]
    assert (issued["email"], issued["product_slug"], issued["policy_slug"]) == (
        "buyer@example.com",
        "editor",
        "standard",
    )
    assert (issued["amount"], issued["currency"], issued["source"]) == (15_750, "BTC", "purchase")


@pytest.mark.parametrize("event_type", EventType)
def test_every_event_has_a_sample(event_type):
    assert sample(event_type)["sample"] is True
