"""What opens a purchase: its invoice's id and a secret. And the address of its page."""

from __future__ import annotations

import hmac
from uuid import UUID

from keysat.core.errors import NotFound
from keysat.core.settings import load_settings
from keysat.web.state import signer


def purchase_of(given: str) -> tuple[UUID, bool]:
    """Return the invoice's id, and whether its secret was given.

    Raises:
        NotFound: The id is malformed, or the secret is wrong.
    """
    plain, dot, secret = given.partition(".")
    try:
        invoice_id = UUID(plain)
    except ValueError:
        raise NotFound("purchase", ascii(plain[:40])) from None
    if not dot:
        return invoice_id, False
    right = signer().purchase_token(invoice_id).partition(".")[2]
    if not hmac.compare_digest(secret.encode(errors="replace"), right.encode()):
        raise NotFound("purchase", invoice_id)
    return invoice_id, True


def proven_purchase(given: str) -> UUID:
    """Return the invoice's id. Only the secret opens it.

    Raises:
        NotFound: The id is malformed, or the secret is wrong or missing.
    """
    invoice_id, proven = purchase_of(given)
    if not proven:
        raise NotFound("purchase", invoice_id)
    return invoice_id


def page_of(invoice_id: UUID) -> str:
    """Return the URL of a purchase's page, which its buyer returns to after the payment."""
    return f"{load_settings().url}/p/{signer().purchase_token(invoice_id)}"
