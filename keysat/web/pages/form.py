"""The form of a purchase: what a buyer typed, what is wrong with it, and the key that makes a repeated one harmless."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field, replace
from typing import Annotated
from urllib.parse import parse_qsl
from uuid import UUID

from fastapi import Depends, Request
from pydantic import Field, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from keysat.core.errors import NotFound
from keysat.models import DiscountCode, Invoice, Policy, Redemption
from keysat.web.fields import Email, Line, PublicInput, Slug

_MAX_FIELDS = 20
_MAX_TYPED = 500
# In the order of the form.
_ERRORS = {
    "policy": "buy.error.policy",
    "email": "buy.error.email",
    "code": "buy.error.code_unknown",
}


class _Wanted(PublicInput):
    policy: Slug | None = None
    email: Email | None = None
    code: Line | None = None
    key: Annotated[str, Field(pattern=r"^[\w-]{20,60}$")] | None = None


@dataclass(frozen=True)
class Form:
    """What a buyer typed, cleaned, and as it was typed.

    `errors` has the key of a text for each wrong field, in the order of the form.
    """

    policy: str | None = None
    email: str | None = None
    code: str | None = None
    key: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    typed: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def idempotency_key(self) -> str:
        """The same for the same form sent twice. Another one once a field is changed."""
        facts = "\0".join([self.policy or "", self.email or "", self.code or ""])
        return f"page:{self.key}:{hashlib.sha256(facts.encode()).hexdigest()[:32]}"

    def wrong(self, name: str, text: str) -> Form:
        """Return the form with an error at a field."""
        errors = {**self.errors, name: text}
        return replace(self, errors={field: errors[field] for field in _ERRORS if field in errors})

    def renewed(self) -> Form:
        """Return the form with another key, for a new purchase."""
        return replace(self, key=secrets.token_urlsafe(24))


def parse_form(given: dict[str, str]) -> Form:
    """Read the fields `policy`, `email`, `code` and `key`. Wrong ones become errors, and others are ignored."""
    typed = {name: given.get(name, "")[:_MAX_TYPED] for name in ("policy", "email", "code")}
    fields = {name: given[name] for name in (*typed, "key") if name in given}
    wrong: set[str] = set()
    while True:
        try:
            wanted = _Wanted.model_validate(fields)
        except ValidationError as error:
            unusable = {str(problem["loc"][0]) for problem in error.errors()}
            fields = {name: value for name, value in fields.items() if name not in unusable}
            wrong |= unusable
            continue
        errors = {name: text for name, text in _ERRORS.items() if name in wrong}
        read = Form(wanted.policy, wanted.email, wanted.code, typed=typed, errors=errors)
        return replace(read, key=wanted.key) if wanted.key else read


async def _posted(request: Request) -> dict[str, str]:
    body = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        return {}


Posted = Annotated[dict[str, str], Depends(_posted)]


def form_of_purchase(session: Session, invoice_id: UUID) -> Form:
    """Return the form of an earlier purchase, to buy the same again.

    Raises:
        NotFound: the purchase was deleted.
    """
    invoice = session.get(Invoice, invoice_id)
    if invoice is None:
        raise NotFound("purchase", invoice_id)
    used = select(DiscountCode.code).join(Redemption).where(Redemption.invoice_id == invoice_id)
    facts = {
        "policy": session.get_one(Policy, invoice.policy_id).slug,
        "email": invoice.buyer_email,
        "code": session.scalar(used),
    }
    return parse_form({name: value for name, value in facts.items() if value is not None})
