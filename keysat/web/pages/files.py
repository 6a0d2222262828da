"""License files and machine files to download, from the page of a purchase and from a holder's licenses."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response
from sqlalchemy.orm import Session

from keysat.core.db import reading
from keysat.core.errors import NotFound, require
from keysat.licenses.files import NoFile, sign_file
from keysat.models import License, Machine, Product
from keysat.web.limits import limit_validations
from keysat.web.pages.form import Posted
from keysat.web.pages.passes import PassOver, licenses_of_pass
from keysat.web.pages.progress import read_progress
from keysat.web.pages.render import PageRoute, page, security_headers
from keysat.web.state import signer
from keysat.web.tokens import proven_purchase

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[Depends(limit_validations)])


@router.get("/p/{secret}/license.lic")
def of_purchase(secret: Annotated[str, Path(max_length=200)]) -> Response:
    """Serve the license file of a purchase whose key is shown."""
    invoice_id = proven_purchase(secret)
    signer()  # before a connection is taken, as the first call takes one of its own
    with reading() as session:
        found = require(read_progress(session, invoice_id), "purchase", invoice_id)
        if found.owned is None or not found.shows_key:
            raise NotFound("license of", invoice_id)
        return _download(session, found.owned)


@router.post("/me/file")
def of_holder(request: Request, posted: Posted) -> Response:
    """Serve the file of a license that a pass opens, or of one of its machines."""
    signer()
    try:
        with reading() as session:
            owned = licenses_of_pass(session, posted.get("pass", ""))
            row = next((row for row in owned if str(row.id) == posted.get("license")), None)
            return _download(session, require(row, "license", "with that pass"), posted.get("machine"))
    except PassOver:
        return page(request, "me.html", 404, trouble="over")


def _download(session: Session, row: License, machine: str | None = None) -> Response:
    """Return a license's file as a download, or that of the machine with an id. Raises NotFound."""
    fingerprint_hash = None if machine is None else _fingerprint_hash(session, row, machine)
    try:
        made = sign_file(session, signer(), row, fingerprint_hash=fingerprint_hash)
    except NoFile as refusal:
        raise NotFound("file of license", row.id) from refusal
    noun = "license" if machine is None else "machine"
    name = f"{noun}-{session.get_one(Product, row.product_id).slug}.lic"
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(made.text, media_type="text/plain; charset=utf-8", headers={**security_headers(), **disposition})


def _fingerprint_hash(session: Session, row: License, machine: str) -> bytes:
    try:
        found = session.get(Machine, UUID(machine))
    except ValueError:
        found = None
    if found is None or found.license_id != row.id:
        raise NotFound("machine", ascii(machine[:40]))
    return found.fingerprint_hash
