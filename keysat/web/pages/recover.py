"""The way back to a lost key: a link by mail, or the reference of the order with a proof.

The proof is the e-mail address, or the preimage of the Lightning payment, which has a form of its own. A preimage is
never shown again.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import HTMLResponse
from pydantic import Field, ValidationError

from keysat.accounts.selling import proves_payments
from keysat.core.db import reading, transaction
from keysat.core.errors import NotFound
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.mail.owe import MailedLink, owe_recovery_link
from keysat.sales import recover as recovery
from keysat.web.fields import Email, Line, Preimage, PublicInput
from keysat.web.limits import limit_recoveries, limit_validations
from keysat.web.pages.form import Posted
from keysat.web.pages.holdings import purchases_page
from keysat.web.pages.language import chosen_language, texts_for
from keysat.web.pages.passes import pass_of_holder, pass_of_license
from keysat.web.pages.render import PageRoute, page
from keysat.web.state import signer

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Secret = Annotated[str, Path(max_length=200)]
_FIELDS = ("email", "reference", "payment_reference", "preimage")
_MAX_TYPED = 500
_MINUTES = int(recovery.LINK_LIFE.total_seconds() // 60)


class _Wanted(PublicInput):
    email: Email
    reference: Annotated[Line, Field(min_length=1)] | None = None


class _Paid(PublicInput):
    payment_reference: Annotated[Line, Field(min_length=1)]
    preimage: Preimage


@router.get("/recover", dependencies=[Depends(limit_validations)])
def ask(request: Request) -> HTMLResponse:
    """Show the form."""
    return _form(request, {})


@router.post("/recover", dependencies=[Depends(limit_recoveries)])
def find(request: Request, posted: Posted) -> HTMLResponse:
    """Show the license of a reference and a proof. With an address alone, send a link, if mail is on.

    The answer is the same for every address, and for every pair of which something is wrong.
    """
    if "preimage" in posted:
        return _by_payment(request, posted)
    try:
        wanted = _Wanted.model_validate(posted)
    except ValidationError as error:
        return _form(request, posted, {str(problem["loc"][0]) for problem in error.errors()})
    if wanted.reference is not None:
        return _by_reference(request, posted, wanted.reference, wanted.email)
    if not load_settings().mail_is_on:
        return _form(request, posted, {"reference"})
    _send_link(request, wanted.email)
    return page(request, "recover_sent.html", minutes=_MINUTES, limit=recovery.MAX_LINKS)


@router.get("/recover/{secret}", dependencies=[Depends(limit_validations)])
def open_link(request: Request, secret: Secret) -> HTMLResponse:  # noqa: ARG001 - any secret gets the same page
    """Show a button that uses the link. Programs that check mail open links, and press no buttons."""
    return page(request, "recover_link.html")


@router.post("/recover/{secret}", dependencies=[Depends(limit_recoveries)])
def redeem(request: Request, secret: Secret) -> HTMLResponse:
    """Use up a mailed link, and show all purchases of its address. If that fails, the link isn't used up."""
    signer()  # before a connection is taken, as the first call takes one of its own
    try:
        with transaction() as session:
            found = recovery.redeem_link(session, secret, "page")
            return purchases_page(request, session, found.licenses, pass_of_holder(found.email), by_link=True)
    except NotFound:
        return _form(request, {}, trouble="used")


def _by_reference(request: Request, posted: dict[str, str], reference: str, email: str) -> HTMLResponse:
    signer()
    try:
        with transaction() as session:
            row = recovery.recover(session, reference, email, "page")
            return purchases_page(request, session, [row], pass_of_license(row))
    except NotFound:
        return _form(request, posted, trouble="nothing")


def _by_payment(request: Request, posted: dict[str, str]) -> HTMLResponse:
    try:
        paid = _Paid.model_validate(posted)
    except ValidationError as error:
        return _form(request, posted, {str(problem["loc"][0]) for problem in error.errors()})
    try:
        with transaction() as session:
            row = recovery.recover_paid(session, paid.payment_reference, bytes.fromhex(paid.preimage), "page")
            return purchases_page(request, session, [row], pass_of_license(row))
    except NotFound:
        return _form(request, posted, trouble="unproven")


def _send_link(request: Request, email: str) -> None:
    """Write the mail, within the limits of an address. Whether it holds a license is asked later."""
    language, chosen = texts_for(request).language, chosen_language(request)
    box = secret_box(load_settings())
    with transaction() as session:
        link = recovery.request_link(session, email)
        if link is not None:
            path = f"/recover/{link.secret}" + (f"?lang={chosen}" if chosen else "")
            owe_recovery_link(session, box, link.email, MailedLink(link.id, path, recovery.LINK_LIFE, language))


def _form(
    request: Request, posted: dict[str, str], wrong: set[str] | None = None, trouble: str | None = None
) -> HTMLResponse:
    """Show the forms with what was typed, and what is wrong with it. `trouble` names the text of another failure."""
    typed = {name: posted.get(name, "")[:_MAX_TYPED] for name in _FIELDS if name != "preimage"}
    errors = [name for name in _FIELDS if name in (wrong or set())]
    status = 400 if errors else 404 if trouble else 200
    with reading() as session:
        by_payment = proves_payments(session)
    return page(request, "recover.html", status, typed=typed, errors=errors, trouble=trouble, by_payment=by_payment)
