"""The provider calls of a check. No transaction is open during a call."""

from __future__ import annotations

from keysat.core.db import Database
from keysat.core.errors import RemoteError, RemoteResponseInvalid
from keysat.core.logs import get_logger
from keysat.core.texts import printable
from keysat.invoices import draft
from keysat.providers.base import FoundInvoice, InvoiceSnapshot
from keysat.providers.lightning import ReceivedPayments
from keysat.providers.registry import provider_for
from keysat.settlement.check import Check

log = get_logger(__name__)


def query(database: Database, check: Check, named: str | None) -> InvoiceSnapshot | None:
    """Return the provider's snapshot of an invoice, or None if it has none for a draft. A draft that it has is adopted.

    Raises:
        CallFailed: no usable response.
    """
    provider, provider_invoice_id = provider_for(check), check.provider_invoice_id
    if provider_invoice_id is None:
        found = _find(check, named)
        if found is None:
            return None
        provider_invoice_id = found.created.provider_invoice_id
        with database.transaction() as session:
            draft.adopt(session, check.invoice_id, check.account_id, found.created)
    snapshot = provider.get_invoice(provider_invoice_id)
    if snapshot.order_id is not None and snapshot.order_id != str(check.invoice_id):
        raise RemoteResponseInvalid(
            f"the provider reports that its invoice {provider_invoice_id} belongs to order "
            f"{printable(snapshot.order_id[:60])}."
        )
    return snapshot


def _find(check: Check, named: str | None) -> FoundInvoice | None:
    """Find the provider's invoice of a draft: by our id, or by its own id if a webhook named it."""
    provider, order_id = provider_for(check), str(check.invoice_id)
    if provider.finds_by_order:
        return draft.best(provider.find_invoices(order_id))
    if named is None:
        return None
    found = provider.find_named(named)
    return found if found.snapshot.order_id == order_id else None


def received(check: Check, snapshot: InvoiceSnapshot) -> ReceivedPayments | None:
    """Return what the invoice received, if the provider reports it."""
    try:
        return provider_for(check).received(snapshot.provider_invoice_id)
    except RemoteError as error:
        log.info("the provider reports no payments", invoice_id=str(check.invoice_id), reason=str(error))
        return None
