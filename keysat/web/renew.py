"""Renewals: pay the next period of a license, or cancel its subscription, both by its key."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from keysat.core.db import DATABASE, reading, transaction
from keysat.core.errors import NotFound
from keysat.licenses.state import evaluate
from keysat.models import Invoice
from keysat.models.holders import license_for_buyer
from keysat.sales.renew import renew as open_renewal
from keysat.subscriptions.terms import cancel_subscription, require_subscription
from keysat.web.bulkhead import provider_place
from keysat.web.errors import documented
from keysat.web.fields import HttpUrl, KeyText, Line, PublicInput
from keysat.web.limits import limit_purchases
from keysat.web.purchase import Started, started
from keysat.web.state import read_key, signer
from keysat.web.tokens import page_of

router = APIRouter(tags=["renewals"])


class RenewRequest(PublicInput):
    """A license key, also one that has expired.

    The buyer's browser is sent to `redirect_url` after the payment, by default to the renewal's page.
    """

    license_key: KeyText
    redirect_url: HttpUrl | None = None


class CancelRequest(PublicInput):
    """A license key, and why its holder cancels."""

    license_key: KeyText
    reason: Line | None = None


class Cancelled(BaseModel):
    """A cancelled subscription. `already`: it was cancelled before."""

    ok: bool = True
    subscription_id: UUID
    status: str = "cancelled"
    already: bool = False


@router.post(
    "/v1/renew",
    responses=documented(404, 409, 502),
    dependencies=[Depends(limit_purchases), Depends(provider_place)],
    response_model_exclude_none=True,
)
def renew(body: RenewRequest) -> Started:
    """Open an invoice for the next period of a license, on the terms it was bought on.

    The buyer pays at `checkout_url`, the program polls `poll_url`, which has the renewed key. The license keeps its id.
    Paid before the grace period ends, the new period follows the old one. Paid later, it begins with the payment. A
    repeated request gets the same invoice while it can be paid.
    """
    license_id = _license_of(body.license_key)
    invoice_id = open_renewal(DATABASE, license_id, "api", page_of, body.redirect_url)
    with reading() as session:
        invoice = session.get_one(Invoice, invoice_id)
        return started(invoice, invoice_id, None if invoice.amount else license_for_buyer(session, invoice))


@router.post(
    "/v1/subscriptions/cancel",
    responses=documented(404, 409),
    dependencies=[Depends(limit_purchases)],
)
def cancel_by_holder(body: CancelRequest) -> Cancelled:
    """Cancel a subscription. The license lasts to its end. A renewal that is paid later takes it up again."""
    license_id = _license_of(body.license_key)
    with transaction() as session:
        changed = cancel_subscription(session, license_id, "holder", body.reason or "")
        return Cancelled(subscription_id=require_subscription(session, license_id).id, already=not changed)


def _license_of(key: str) -> UUID:
    """Return the id of a key's license. Raises NotFound if it opens none, as one that was replaced."""
    signer()  # before a connection is taken, as the first call takes one of its own
    state = evaluate(DATABASE, read_key, key).license_state
    if state is None:
        raise NotFound("license", "with that key")
    return state.license_id
