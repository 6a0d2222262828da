"""Information about the service, and the public key that verifies its licenses."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from keysat import __version__
from keysat.core.settings import load_settings
from keysat.web.errors import documented
from keysat.web.pages.home import home
from keysat.web.pages.render import wants_page
from keysat.web.state import signer

router = APIRouter(tags=["service"], responses=documented())


class PublicKey(BaseModel):
    """The Ed25519 public key, as PEM (SubjectPublicKeyInfo)."""

    public_key_pem: str


class Service(PublicKey):
    """This installation."""

    service: Literal["keysat"] = "keysat"
    version: str
    operator: str
    key_algorithm: Literal["ed25519"] = "ed25519"


@router.get("/", response_model=Service)
def service(request: Request, response: Response) -> Service | HTMLResponse:
    """Get information about this installation. Browsers, which ask for HTML, get a page with what is sold."""
    if wants_page(request):
        return home(request)
    response.headers["Vary"] = "Accept, Accept-Language"
    return Service(version=__version__, operator=load_settings().seller_name, public_key_pem=signer().public_key_pem)


@router.get("/v1/pubkey")
def public_key() -> PublicKey:
    """Get the public key that verifies licenses, also offline."""
    return PublicKey(public_key_pem=signer().public_key_pem)
