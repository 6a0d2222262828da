"""Give a buyer a lost license again: whoever names the purchase and its e-mail address gets it.

Every failure is the same for the caller, and takes the same statement. So nobody learns which of both was right.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import select
from sqlalchemy.orm import Session

from keysat.core.errors import NotFound
from keysat.core.logs import get_logger
from keysat.invoices.find import by_any_id
from keysat.licenses.holders import held_by
from keysat.models import Invoice, License
from keysat.models.audit import audit

log = get_logger(__name__)


def recover(session: Session, invoice_id: str, email: str, actor: str) -> License:
    """Return the license of an invoice whose holder has that e-mail address, in any case.

    `invoice_id` is our id, the provider's, or the token that polls the purchase. A recovery is audited with a hash of
    the address. A refusal is only logged, as strangers can cause any number of them.

    Raises:
        NotFound: no such invoice, it has no license, or its holder has another address or none.
    """
    wanted = by_any_id(invoice_id.strip().partition(".")[0])
    row = session.scalar(
        select(License).join(Invoice, Invoice.id == License.invoice_id).where(wanted, held_by(email)).limit(1)
    )
    if row is None:
        log.info("recovery refused", address=email_hash(email))
        raise NotFound("license", "of that invoice and e-mail address")
    audit(session, actor, "license.recovered", row.id, address=email_hash(email))
    return row


def email_hash(email: str) -> str:
    """Return 16 hex digits of the SHA-256 of an e-mail address in lower case."""
    return hashlib.sha256(email.strip().lower().encode()).hexdigest()[:16]
