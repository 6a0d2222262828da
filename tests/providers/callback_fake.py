"""The fake provider with a webhook URL for each invoice, signed with the API key, that finds nothing by our id."""

import hashlib
import hmac
from typing import ClassVar
from urllib.parse import parse_qsl, urlencode

from keysat.providers.base import FoundInvoice, ReceivedEvent
from keysat.providers.fake import Fake
from keysat.providers.refusals import WebhookRejected
from keysat.providers.signed_events import is_name, require_signature


class CallbackFake(Fake):
    """Keeps the webhook URL of each invoice in `callbacks`, by the invoice's id there."""

    kind: ClassVar[str] = "callback"
    callback_per_invoice: ClassVar[bool] = True
    finds_by_order: ClassVar[bool] = False
    lists_invoices: ClassVar[bool] = False
    callbacks: ClassVar[dict[str, str | None]] = {}

    def create_invoice(self, wanted):
        created = super().create_invoice(wanted)
        self.callbacks[created.provider_invoice_id] = wanted.callback_url
        return created

    def find_invoices(self, order_id):
        return super(Fake, self).find_invoices(order_id)

    def find_named(self, provider_invoice_id):
        snapshot = self.get_invoice(provider_invoice_id)
        (found,) = [invoice for invoice in Fake.find_invoices(self, snapshot.order_id) if invoice.snapshot == snapshot]
        return FoundInvoice(found.created, snapshot)

    def parse_webhook(self, webhook):
        try:
            fields = parse_qsl(webhook.body.decode(), keep_blank_values=True, errors="strict")
        except ValueError:
            raise WebhookRejected("no form.") from None
        named = dict(fields)
        given = named.get("signature", "")
        if not is_name(named.get("id")) or len(named) != len(fields):
            raise WebhookRejected("no invoice.")
        require_signature(self._credentials["api_key"], named["id"].encode(), given)
        order_id = named.get("order_id")
        delivery = hashlib.sha256(webhook.body).hexdigest()
        return ReceivedEvent(delivery, "change", named["id"], order_id if is_name(order_id) else None)


def signed_form(api_key, form, name="signature"):
    """A webhook's body with the signature of the id in it, in a field of that name."""
    charge_id = dict(parse_qsl(form.decode(errors="replace"))).get("id", "")
    signature = hmac.new(api_key.encode(), charge_id.encode(), hashlib.sha256).hexdigest()
    return b"&".join(filter(None, [form, urlencode({name: signature}).encode()]))
