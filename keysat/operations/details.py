"""All that is shown of one invoice: its row, its names, why its buyer has no license, and its history."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from keysat.core.money import Money, stored_money
from keysat.models import DiscountCode, Invoice, License, Policy, Product, Redemption
from keysat.models.discount_code import RedemptionStatus
from keysat.models.holders import license_of_invoice
from keysat.operations.timeline import Moment, timeline
from keysat.operations.why import Why, read_why


@dataclass(frozen=True)
class UsedCode:
    """The discount code of an invoice, the status of its slot, and what it took off."""

    code: str
    status: RedemptionStatus
    discount: Money


@dataclass(frozen=True)
class InvoiceDetails:
    """An invoice. `product` and `policy` are slugs, `account` is a name, or None if it was free."""

    invoice: Invoice
    license: License | None
    account: str | None
    product: str
    policy: str
    code: UsedCode | None
    why: Why
    timeline: list[Moment]


def read_details(session: Session, invoice: Invoice) -> InvoiceDetails:
    """Read all that is shown of an invoice."""
    why = read_why(session, invoice)
    return InvoiceDetails(
        invoice=invoice,
        license=license_of_invoice(session, invoice),
        account=why.account,
        product=session.get_one(Product, invoice.product_id).slug,
        policy=session.get_one(Policy, invoice.policy_id).slug,
        code=_code(session, invoice),
        why=why,
        timeline=timeline(session, invoice),
    )


def _code(session: Session, invoice: Invoice) -> UsedCode | None:
    row = session.execute(
        select(DiscountCode.code, Redemption.status, Redemption.discount)
        .join(Redemption)
        .where(Redemption.invoice_id == invoice.id)
    ).one_or_none()
    return row and UsedCode(row.code, row.status, stored_money(row.discount, invoice.currency))
