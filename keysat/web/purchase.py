"""Purchases: start one, poll it until its license is issued, or redeem a code for a free license."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path
from pydantic import BaseModel
from sqlalchemy import ColumnElement, func, literal, select

from keysat.core.db import DATABASE, reading, snapshot
from keysat.core.errors import NotFound
from keysat.core.money import Money, stored_money
from keysat.core.settings import load_settings
from keysat.invoices.rest import current_of, missing_of, short_of
from keysat.licenses.seats import Caller
from keysat.models import Invoice, License, Redemption
from keysat.models.holders import license_for_buyer
from keysat.operations.why import State, Why, read_why
from keysat.sales.order import Order
from keysat.sales.purchase import purchase as start
from keysat.web.bulkhead import provider_place
from keysat.web.errors import documented
from keysat.web.fields import Email, Fingerprint, HttpUrl, Line, Lines, PublicInput, Slug
from keysat.web.limits import limit_purchases, limit_validations
from keysat.web.products import sats
from keysat.web.state import signer, signer_id
from keysat.web.tokens import page_of, purchase_of

router = APIRouter(tags=["purchase"])

# For programs that poll with the plain id, from before there was a secret.
PLAIN_ID_SHOWS = timedelta(hours=1)

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="Sent again with the same body, leads to the same response and no second purchase.",
    ),
]


class Wanted(PublicInput):
    """The buyer and the product. Without a policy, the product's default applies."""

    product: Slug
    buyer_email: Email | None = None
    buyer_note: Lines | None = None
    policy_slug: Slug | None = None


class PurchaseRequest(Wanted):
    """A purchase request.

    The buyer's browser is sent to `redirect_url` after the payment, by default to the purchase's page.

    A policy with `trial_days` begins with a trial for free, once for each `buyer_email`, and once for each machine with
    a `fingerprint`. One of them is needed. `trial` false, or a code, buys at once.
    """

    redirect_url: HttpUrl | None = None
    code: Line | None = None
    trial: bool = True
    fingerprint: Fingerprint | None = None


class RedeemRequest(Wanted):
    """A redemption request. The code must be one for a free license."""

    code: Line


class Started(BaseModel):
    """A purchase. `invoice_id` is the invoice's id and a secret that gives access to the purchase and its license.

    `btcpay_invoice_id` is the provider's id. If nothing is to be paid, it is empty and the license is included.
    """

    invoice_id: str
    btcpay_invoice_id: str
    checkout_url: str
    amount_sats: int
    base_price_sats: int
    discount_applied_sats: int
    amount: int
    currency: str
    poll_url: str
    license_key: str | None = None
    license_id: UUID | None = None


class Polled(BaseModel):
    """The state of a purchase. `status` is pending, settled, expired or invalid. The license follows shortly after.

    `invoice_id` is the one in the request. `state` says more, as `short` or `seen`: see its values. `paid_amount` is
    what came in, with all parts, in the smallest unit of `currency`, if the provider reports it. `missing_amount` is
    what may be paid with `POST /v1/purchase/{invoice_id}/rest`, or null. `seen_at` is when a payment was first seen,
    confirmed or not. `expires_at` is until when it can be paid, if the provider reports it. While a rest is open, they
    and `state` are those of the rest.
    """

    invoice_id: str
    status: str
    state: State
    product_id: UUID
    amount_sats: int
    amount: int
    currency: str
    paid_amount: int | None
    missing_amount: int | None
    seen_at: datetime | None
    expires_at: datetime | None
    license_key: str | None
    license_id: UUID | None


class Redeemed(BaseModel):
    """A free license."""

    license_id: UUID
    license_key: str
    invoice_id: str
    redemption_id: UUID


@router.post(
    "/v1/purchase",
    responses=documented(404, 409, 502),
    dependencies=[Depends(limit_purchases), Depends(provider_place)],
    response_model_exclude_none=True,
)
def purchase(body: PurchaseRequest, key: IdempotencyKey = None) -> Started:
    """Open an invoice. The buyer pays at `checkout_url`, the program polls `poll_url`."""
    order = Order(
        product=body.product,
        policy=body.policy_slug,
        code=body.code,
        buyer_email=body.buyer_email,
        buyer_note=body.buyer_note,
        redirect_url=body.redirect_url,
        trial=body.trial,
        machine=None if body.fingerprint is None else Caller.of(body.fingerprint).fingerprint_hash,
        idempotency_key=key and f"purchase:{key}",
    )
    signer_id()  # before a connection is taken, as the first call takes one of its own
    invoice_id = start(DATABASE, order, signer_id, "api", page_of)
    with reading() as session:
        invoice = session.get_one(Invoice, invoice_id)
        owned = None if invoice.amount else license_for_buyer(session, invoice)
    return started(invoice, invoice_id, owned)


def started(invoice: Invoice, purchase_id: UUID, owned: License | None = None) -> Started:
    """Describe an opened invoice. It is the purchase's own, or that of its rest."""
    price, base = Money(invoice.amount, invoice.currency), Money(invoice.base_amount, invoice.currency)
    token = signer().purchase_token(purchase_id)
    return Started(
        invoice_id=token,
        btcpay_invoice_id=invoice.provider_invoice_id or "",
        checkout_url=invoice.checkout_url or "",
        amount_sats=sats(price),
        base_price_sats=sats(base),
        discount_applied_sats=sats(base) - sats(price),
        amount=price.amount,
        currency=price.currency,
        poll_url=f"{load_settings().url}/v1/purchase/{token}",
        license_key=owned and signer().key_for(owned),
        license_id=owned and owned.id,
    )


@router.get("/v1/purchase/{invoice_id}", responses=documented(404), dependencies=[Depends(limit_validations)])
def poll(invoice_id: Annotated[str, Path(max_length=200)]) -> Polled:
    """Get the state of a purchase, with the license once it is issued.

    The plain id of the invoice, which appears in logs and at the provider, shows the license for its first hour
    only, and never one whose key was replaced.
    """
    row_id, proven = purchase_of(invoice_id)
    with snapshot() as session:
        invoice = session.get(Invoice, row_id)
        if invoice is None:
            raise NotFound("purchase", row_id)
        owned = license_for_buyer(session, invoice)
        current = current_of(session, invoice)
        why, missing = read_why(session, current), missing_of(short_of(session, invoice))
        if owned is not None and not proven and (owned.rotated_at or not session.scalar(select(_is_new(owned)))):
            owned = None
    price = stored_money(invoice.amount, invoice.currency)
    return Polled(
        invoice_id=invoice_id,
        status=invoice.status,
        state=why.state,
        product_id=invoice.product_id,
        amount_sats=sats(price),
        amount=price.amount,
        currency=price.currency,
        paid_amount=_paid(invoice, current, why),
        missing_amount=missing.amount if missing and why.state not in {State.SEEN, State.PART_PAID} else None,
        seen_at=current.payment_seen_at,
        expires_at=current.expires_at,
        license_key=owned and signer().key_for(owned),
        license_id=owned and owned.id,
    )


@router.post("/v1/redeem", responses=documented(404, 409), dependencies=[Depends(limit_purchases)])
def redeem(body: RedeemRequest, key: IdempotencyKey = None) -> Redeemed:
    """Exchange a code for a free license."""
    order = Order(
        product=body.product,
        policy=body.policy_slug,
        code=body.code,
        buyer_email=body.buyer_email,
        buyer_note=body.buyer_note,
        only_free=True,
        idempotency_key=key and f"redeem:{key}",
    )
    signer_id()
    invoice_id = start(DATABASE, order, signer_id, "api")
    with reading() as session:
        owned = license_for_buyer(session, session.get_one(Invoice, invoice_id))
        redemption_id = session.scalars(select(Redemption.id).where(Redemption.invoice_id == invoice_id)).one()
    if owned is None:
        raise NotFound("license of this purchase", "any more; it was transferred")
    return Redeemed(
        license_id=owned.id,
        license_key=signer().key_for(owned),
        invoice_id=signer().purchase_token(invoice_id),
        redemption_id=redemption_id,
    )


def _is_new(owned: License) -> ColumnElement[bool]:
    return literal(owned.issued_at) > func.now() - PLAIN_ID_SHOWS


def _paid(invoice: Invoice, current: Invoice, why: Why) -> int | None:
    """Return what came in with all parts, or None if unknown. A rest charges what was missing when it was opened."""
    if current is not invoice:
        return invoice.amount - current.amount + why.paid.amount
    return None if invoice.paid_amount is None else why.paid.amount
