"""Find invoices by their id, ours or the provider's."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, or_

from keysat.models import Invoice


def by_any_id(which: str | UUID) -> ColumnElement[bool]:
    """The condition that an invoice has that id, ours or the provider's."""
    if isinstance(which, UUID):
        return Invoice.id == which
    theirs = Invoice.provider_invoice_id == which
    try:
        return or_(Invoice.id == UUID(which), theirs)
    except ValueError:
        return theirs
