"""Recovery of a lost license key."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy.orm import Session

from keysat.core.db import transaction
from keysat.models import License
from keysat.sales import recover as recovery
from keysat.web.errors import documented
from keysat.web.fields import Email, Line, Preimage, PublicInput
from keysat.web.limits import limit_recoveries
from keysat.web.state import key_of, signer

router = APIRouter(tags=["purchase"])

_INVOICE = "0198c2d4-0000-7000-8000-000000000003"
_PROOFS = {
    "email": "buyer@example.com",
    "preimage": "6b7d0c1f5e2a49384756a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6",
}


class RecoverRequest(PublicInput):
    """The purchase, and a proof: the holder's e-mail address, or the preimage of the Lightning payment.

    The holder's address is that of the buyer, unless it was changed since.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in _PROOFS],
            "examples": [{"invoice_id": _INVOICE, name: proof} for name, proof in _PROOFS.items()],
        }
    )

    invoice_id: Annotated[Line, Field(min_length=1, description="Our id of the invoice, or the payment provider's.")]
    email: Email | None = None
    preimage: Preimage | None = None

    @model_validator(mode="after")
    def _has_one_proof(self) -> Self:
        if (self.email is None) is (self.preimage is None):
            raise ValueError("give the e-mail address, or the preimage of the payment in its place")
        return self


class Recovered(BaseModel):
    """The license and its key. No `expires_at` = perpetual."""

    license_key: str
    license_id: UUID
    product_id: UUID
    issued_at: datetime
    expires_at: datetime | None
    entitlements: list[str]


class LinkRequest(PublicInput):
    """The secret of a recovery link."""

    secret: Annotated[Line, Field(min_length=1)]


class RecoveredLicenses(BaseModel):
    """The licenses of the link's address, newest first.

    `unavailable` has the ids of those whose key can't be made here, because another signing key issued them.
    """

    licenses: list[Recovered]
    unavailable: list[UUID]


@router.post("/v1/recover", responses=documented(404), dependencies=[Depends(limit_recoveries)])
def recover(body: RecoverRequest) -> Recovered:
    """Get a lost license key. Every failure is the same 404.

    A buyer who paid over Lightning proves it with the payment's preimage, which the wallet shows, in place of an e-mail
    address. That works for a purchase that one Lightning payment at BTCPay Server paid in full.
    """
    installed = signer()  # before a connection is taken, as the first call takes one of its own
    with transaction() as session:
        row = _find(session, body)
        return _recovered(row, installed.key_for(row))


@router.post("/v1/recover/link", responses=documented(404), dependencies=[Depends(limit_recoveries)])
def redeem_link(body: LinkRequest) -> RecoveredLicenses:
    """Get all license keys of an address with the secret of a link that was sent there. It works once.

    A link whose keys can't be made isn't used up.
    """
    signer()
    with transaction() as session:
        keys = [(row, key_of(row)) for row in recovery.redeem_link(session, body.secret, "api").licenses]
        return RecoveredLicenses(
            licenses=[_recovered(row, key) for row, key in keys if key is not None],
            unavailable=[row.id for row, key in keys if key is None],
        )


def _find(session: Session, body: RecoverRequest) -> License:
    if body.preimage is not None:
        return recovery.recover_paid(session, body.invoice_id, bytes.fromhex(body.preimage), "api")
    assert body.email is not None
    return recovery.recover(session, body.invoice_id, body.email, "api")


def _recovered(row: License, key: str) -> Recovered:
    return Recovered(
        license_key=key,
        license_id=row.id,
        product_id=row.product_id,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        entitlements=row.entitlements,
    )
