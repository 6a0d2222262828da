"""An invoice's timeline has each notification, its receiver and its result."""

from sqlalchemy import select

from keysat.core.db import DATABASE, reading
from keysat.models import OutboundEvent
from keysat.operations.timeline import timeline
from keysat.providers.base import ProviderStatus
from keysat.webhooks.deliver import deliver
from keysat.webhooks.delivery_queue import due_deliveries
from tests.builders import PRICE, check_invoice, issue_now, load_invoice, make_invoice


def test_timeline_of_invoice(fake, signer, sender, receiver, new_endpoint):
    """It covers the invoice from its opening to the final delivery attempt."""
    new_endpoint(receiver.url)
    invoice = make_invoice()
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    check_invoice(invoice.id)
    issue_now(invoice.id, signer.key_id)
    receiver.answer = lambda _: 500
    with reading() as session:
        owed = due_deliveries(session, 100, 100)
    for delivery_id in owed:
        deliver(DATABASE, sender, delivery_id)
    with reading() as session:
        assert set(session.scalars(select(OutboundEvent.event_type))) == {"invoice.settled", "license.issued"}
        moments = timeline(session, load_invoice(invoice.id))
    actions = [moment.action for moment in moments]
    assert actions == ["invoice.opened", "invoice.looked", "invoice.settled", "license.issued", *["webhook.sent"] * 2]
    assert {moment.detail["came_of_it"] for moment in moments[-2:]} == {"answered 500"}
    assert [moment.at for moment in moments] == sorted(moment.at for moment in moments)
