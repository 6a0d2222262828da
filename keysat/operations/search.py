"""Find invoices and licenses: by id, by the buyer's email address or by state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnExpressionArgument, and_, func, select
from sqlalchemy.orm import Session

from keysat.core.errors import require
from keysat.core.hints import Hint
from keysat.invoices.find import by_any_id
from keysat.models import Invoice, License, Product, ProviderAccount
from keysat.models.columns import newest
from keysat.models.holders import held_by
from keysat.models.invoice_status import InvoiceStatus
from keysat.models.license import LicenseStatus


@dataclass(frozen=True)
class Search:
    """Search criteria. None or False means no restriction. `which` is our id or the provider's."""

    which: str | None = None
    email: str | None = None
    status: InvoiceStatus | None = None
    account: str | None = None
    review: bool = False
    failing: bool = False
    unfulfilled: bool = False
    abandoned: bool = False
    before: UUID | None = None

    def conditions(self) -> Iterator[ColumnExpressionArgument[bool]]:
        """Yield the SQL conditions of the search."""
        if self.which is not None:
            yield by_any_id(self.which)
        if self.email is not None:
            yield func.lower(Invoice.buyer_email) == func.lower(self.email)
        if self.status is not None:
            yield Invoice.status == self.status
        if self.account is not None:
            yield ProviderAccount.name == self.account
        if self.review:
            yield Invoice.in_review
        if self.failing:
            yield Invoice.failing
        if self.unfulfilled:
            yield and_(Invoice.status == InvoiceStatus.SETTLED, Invoice.next_check_at.is_not(None))
        if self.abandoned:
            yield Invoice.abandoned


@dataclass(frozen=True)
class LicenseSearch:
    """Search criteria. None means no restriction. `product` is a slug, `email` is the holder's."""

    product: str | None = None
    status: LicenseStatus | None = None
    invoice_id: UUID | None = None
    email: str | None = None
    before: UUID | None = None

    def conditions(self) -> Iterator[ColumnExpressionArgument[bool]]:
        """Yield the SQL conditions of the search."""
        if self.product is not None:
            yield Product.slug == self.product
        if self.status is not None:
            yield License.status == self.status
        if self.invoice_id is not None:
            yield License.invoice_id == self.invoice_id
        if self.email is not None:
            yield held_by(self.email)


def find_invoices(session: Session, search: Search, limit: int) -> list[tuple[Invoice, str | None]]:
    """Return the invoices, newest first, each with its account's name (None for a free invoice)."""
    rows = select(Invoice, ProviderAccount.name).outerjoin(ProviderAccount)
    wanted = newest(rows.where(*search.conditions()), Invoice.id, limit, search.before)
    return [(invoice, account) for invoice, account in session.execute(wanted)]


def find_licenses(session: Session, search: LicenseSearch, limit: int) -> list[tuple[License, str]]:
    """Return the licenses, newest first, each with its product's slug."""
    rows = select(License, Product.slug).join(Product)
    wanted = newest(rows.where(*search.conditions()), License.id, limit, search.before)
    return [(row, product) for row, product in session.execute(wanted)]


def require_invoice(session: Session, which: str | UUID) -> Invoice:
    """Return the invoice with that id, ours or the provider's.

    Raises:
        NotFound: there is no such invoice.
    """
    invoice = session.scalar(select(Invoice).where(by_any_id(which)).limit(1))
    return require(invoice, "invoice", which, Hint.LIST_INVOICES)
