"""A holder's licenses, by a license key or by a mailed link: keys, machines whose seats can be freed, receipts.

Every request is a form that carries a key or a pass. There is no session and no cookie.
"""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from keysat.core.db import DATABASE, snapshot, transaction
from keysat.core.errors import Conflict, NotFound
from keysat.core.logs import get_logger
from keysat.core.money import stored_money
from keysat.licenses.releases import release_seat
from keysat.licenses.state import LicenseState, Reason, evaluate
from keysat.models import Invoice, License, Policy, Product
from keysat.subscriptions.terms import cancel_subscription
from keysat.web.bulkhead import provider_place
from keysat.web.limits import limit_purchases, limit_recoveries, limit_validations
from keysat.web.pages.form import Posted
from keysat.web.pages.holdings import purchases_page
from keysat.web.pages.passes import PassOver, licenses_of_pass, pass_of_license
from keysat.web.pages.purchase import to_renewal
from keysat.web.pages.render import PageRoute, page
from keysat.web.state import key_of, read_key

log = get_logger(__name__)

# What `do` may ask for that changes something.
_CHANGES = {"free", "cancel"}

router = APIRouter(route_class=PageRoute, include_in_schema=False)


class KeyUnknown(NotFound):
    """The key opens no license: it is none, another signer made it, or a newer one replaced it."""

    def __init__(self) -> None:
        super().__init__("license", "with that key")


@router.get("/me", dependencies=[Depends(limit_validations)])
def ask_for_key(request: Request) -> HTMLResponse:
    """Show the form for a license key."""
    return page(request, "me.html", trouble=None)


@router.post("/me")
def act(request: Request, posted: Posted) -> HTMLResponse:
    """Show the licenses of a key or a pass, free a seat, or show a receipt, as `do` says."""
    _limit(request, posted)
    try:
        # Out here, as it takes a connection of its own.
        found = None if "pass" in posted else _license_of(posted.get("key", ""))
        with snapshot() as session:
            owned, proof = _opened(session, found, posted)
            if posted.get("do") == "receipt":
                return _receipt(request, session, _chosen(owned, posted))
            if posted.get("do") not in _CHANGES:
                return purchases_page(request, session, owned, proof)
        outcome = _done(_chosen(owned, posted), posted)
        with snapshot() as session:
            return purchases_page(request, session, licenses_of_pass(session, proof), proof, outcome=outcome)
    except PassOver:
        return page(request, "me.html", 404, trouble="over")
    except KeyUnknown:
        return page(request, "me.html", 404, trouble="unknown")


def _limit(request: Request, posted: dict[str, str]) -> None:
    """Count a key as an attempt to recover, a change as a purchase, and what only shows something as a poll."""
    if "pass" not in posted:
        limit_recoveries(request)
    elif posted.get("do") in _CHANGES:
        limit_purchases(request)
    else:
        limit_validations(request)


def _license_of(key: str) -> LicenseState:
    """Return the state of a key's license. Raises KeyUnknown."""
    state = evaluate(DATABASE, read_key, key).license_state
    if state is None:
        raise KeyUnknown
    return state


def _opened(session: Session, found: LicenseState | None, posted: dict[str, str]) -> tuple[list[License], str]:
    """Return the licenses that a form opens, by its key's license or by its pass, and a pass for the next one.

    Raises:
        KeyUnknown: the key was replaced since its license was found.
        PassOver: the pass is wrong.
    """
    if found is None:
        return licenses_of_pass(session, posted["pass"]), posted["pass"]
    row = session.get_one(License, found.license_id)
    if row.rotated_at != found.rotated_at:
        raise KeyUnknown
    return [row], pass_of_license(row)


def _chosen(owned: list[License], posted: dict[str, str]) -> License:
    """Return the license that a form names, among those that it opens. Raises NotFound."""
    named = posted.get("license", "")
    found = next((row for row in owned if str(row.id) == named), None)
    if found is None:
        raise NotFound("license", ascii(named[:40]))
    return found


@router.post("/me/renew", dependencies=[Depends(limit_purchases), Depends(provider_place)])
def renew(request: Request, posted: Posted) -> Response:
    """Open the invoice for the next period of a license, and go on to its checkout."""
    try:
        with snapshot() as session:
            owned, proof = _opened(session, None, {"pass": "", **posted})
            row = _chosen(owned, posted)
        try:
            return to_renewal(request, row)
        except Conflict as error:  # paid ahead or withdrawn since, or being opened by another request
            log.info("no renewal opened", license_id=str(row.id), reason=str(error))
        with snapshot() as session:
            return purchases_page(request, session, owned, proof, outcome="not_renewable")
    except PassOver:
        return page(request, "me.html", 404, trouble="over")


def _done(row: License, posted: dict[str, str]) -> str:
    """Do what a form asks for. Return the name of the result's text."""
    if posted.get("do") == "free":
        return _free(row, posted)
    with transaction() as session:
        cancel_subscription(session, row.id, "holder")
    return "cancelled"


def _free(row: License, posted: dict[str, str]) -> str:
    """Free the seat of a machine. Return the name of the result's text."""
    try:
        machine_id = UUID(posted.get("machine", ""))
    except ValueError:
        return Reason.NOT_FOUND
    key = key_of(row)
    seats = None if key is None else release_seat(DATABASE, read_key, key, machine_id)
    if seats is None:
        return Reason.NOT_FOUND
    return "freed" if seats.reason is None else seats.reason


def _receipt(request: Request, session: Session, row: License) -> HTMLResponse:
    """Show the receipt of a license's purchase, to print. It has no data of the buyer."""
    if row.invoice_id is None or row.transferred_at is not None:
        raise NotFound("receipt of license", row.id)
    invoice = session.get_one(Invoice, row.invoice_id)
    return page(
        request,
        "receipt.html",
        invoice=invoice,
        product=session.get_one(Product, row.product_id),
        policy=session.get_one(Policy, row.policy_id),
        price=stored_money(invoice.base_amount, invoice.currency),
        discount=stored_money(invoice.base_amount - invoice.amount, invoice.currency),
        paid=stored_money(invoice.came_in + invoice.rest_paid, invoice.currency),
        paid_on=invoice.paid_at or invoice.settled_at,
    )
