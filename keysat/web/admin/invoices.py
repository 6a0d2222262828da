"""Admin routes for invoices: search, why a buyer has no license, and manual decisions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from keysat.core.db import DATABASE, reading, snapshot, transaction
from keysat.core.settings import load_settings
from keysat.models.invoice_status import InvoiceStatus
from keysat.operations.details import read_details
from keysat.operations.search import Search, find_invoices, require_invoice
from keysat.operations.why import Remedy, State
from keysat.operations.why_sentence import sentence
from keysat.settlement.by_hand import reconcile_and_issue, restore_and_issue, settle_and_issue
from keysat.settlement.outcome import rules_of
from keysat.settlement.resolve import acknowledge, dismiss
from keysat.web.admin.auth import Reader, Writer
from keysat.web.admin.shapes import Before, Done, Happened, Limit, Note, Row, happened
from keysat.web.bulkhead import ASKING
from keysat.web.errors import documented
from keysat.web.fields import Line, Slug
from keysat.web.state import signer_id

router = APIRouter(prefix="/invoices", tags=["admin: invoices"])

InvoiceId = Annotated[UUID, Path(description="Our id of it, which is the provider's order id.")]


class InvoiceRow(Row):
    """An invoice. Amounts are in the smallest unit of `currency`. `in_review`: it waits for a person.

    `rest_of_id`: it charges what was missing of that invoice, and gets no license. `rest_paid`: what such invoices
    brought in for this one. `credited`: what this one counts for in the `rest_paid` of the other. `expires_at` is until
    when it can be paid at the provider, if reported.
    """

    id: UUID
    provider_account_id: UUID | None
    provider_invoice_id: str | None
    product_id: UUID
    policy_id: UUID
    status: InvoiceStatus | str
    exception: str
    base_amount: int
    amount: int
    currency: str
    paid_amount: int | None
    rest_of_id: UUID | None
    target_license_id: UUID | None
    rest_paid: int
    credited: int | None
    buyer_email: str | None
    buyer_note: str | None
    checkout_url: str | None
    created_at: datetime
    expires_at: datetime | None
    paid_at: datetime | None
    settled_at: datetime | None
    fulfilled_at: datetime | None
    reversed_at: datetime | None
    review_reason: str | None
    in_review: bool
    next_check_at: datetime | None
    check_count: int
    last_checked_at: datetime | None
    last_error: str | None


class InvoiceDetails(BaseModel):
    """An invoice, why its buyer has no license or that one was issued, and its history, oldest first.

    `why` puts `state` into words. `remedies` are the actions by a person that the state allows.
    """

    invoice: InvoiceRow
    account: str | None
    license_id: UUID | None
    state: State
    why: str
    remedies: list[Remedy]
    timeline: list[Happened]


class CheckResponse(BaseModel):
    """The provider's status, in its own words, and the decision."""

    provider_says: str
    decision: str
    license_id: UUID | None


@router.get("")
def search_invoices(
    _: Reader,
    which: Annotated[Line | None, Query(alias="id", description="Our id or the provider's.")] = None,
    email: Annotated[Line | None, Query(description="The buyer's, in any case.")] = None,
    status: InvoiceStatus | None = None,
    account: Slug | None = None,
    *,
    review: bool = False,
    limit: Limit = 50,
    before: Before = None,
) -> list[InvoiceRow]:
    """Find invoices, newest first."""
    search = Search(which=which, email=email, status=status, account=account, review=review, before=before)
    with reading() as session:
        return [InvoiceRow.model_validate(row) for row, _account in find_invoices(session, search, limit)]


@router.get("/{invoice_id}", responses=documented(404))
def get_invoice(invoice_id: InvoiceId, _: Reader) -> InvoiceDetails:
    """Get all details of an invoice, including why its buyer has no license."""
    with snapshot() as session:
        found = read_details(session, require_invoice(session, invoice_id))
    return InvoiceDetails(
        invoice=InvoiceRow.model_validate(found.invoice),
        account=found.account,
        license_id=found.why.license_id,
        state=found.why.state,
        why=sentence(found.why),
        remedies=list(found.why.remedies),
        timeline=happened(found.timeline),
    )


@router.post("/{invoice_id}/reconcile", responses=documented(404, 409, 502), dependencies=ASKING)
def reconcile_invoice(invoice_id: InvoiceId, actor: Writer) -> CheckResponse:
    """Check the provider now, act on its response, and issue the license if the invoice is paid."""
    with reading() as session:
        require_invoice(session, invoice_id)
    rules = rules_of(load_settings())
    result, license_id = reconcile_and_issue(DATABASE, invoice_id, rules, signer_id, actor)
    return CheckResponse(provider_says=result.provider_status, decision=result.outcome.action, license_id=license_id)


@router.post("/{invoice_id}/settle", responses=documented(404, 409))
def settle_invoice(invoice_id: InvoiceId, body: Note, actor: Writer) -> CheckResponse:
    """Settle an invoice by hand, regardless of the provider's status, and issue its license."""
    license_id = settle_and_issue(DATABASE, invoice_id, body.note, signer_id, actor)
    return CheckResponse(provider_says="nothing; it wasn't asked", decision="settle", license_id=license_id)


@router.post("/{invoice_id}/dismiss", responses=documented(404, 409))
def dismiss_review(invoice_id: InvoiceId, body: Note, actor: Writer) -> Done:
    """Close an invoice's review without a license, for example after a refund by hand."""
    with transaction() as session:
        dismiss(session, invoice_id, body.note, actor)
    return Done()


@router.post("/{invoice_id}/acknowledge", responses=documented(404, 409))
def acknowledge_invoice(invoice_id: InvoiceId, body: Note, actor: Writer) -> Done:
    """Acknowledge that an invoice gets no usable response. Checks continue without an alarm."""
    with transaction() as session:
        acknowledge(session, invoice_id, body.note, actor)
    return Done()


@router.post("/{invoice_id}/restore", responses=documented(404, 409))
def restore_invoice(invoice_id: InvoiceId, body: Note, actor: Writer) -> Done:
    """Undo a reversal by hand: the license regains its status, or is issued if it wasn't before."""
    restore_and_issue(DATABASE, invoice_id, body.note, signer_id, actor)
    return Done()
