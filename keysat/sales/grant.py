"""Grant licenses by hand, without an invoice."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from keysat.catalog.products import choose_policy, price_of
from keysat.core.errors import InvalidInput
from keysat.core.hints import Hint
from keysat.core.mailbox import check_email
from keysat.models import License
from keysat.models.audit import audit
from keysat.models.license import LicenseSource
from keysat.queue.outbox import EventType, emit_license
from keysat.subscriptions.terms import start


def grant(
    session: Session,
    product_slug: str,
    policy_slug: str | None,
    note: str,
    signer_id: str,
    actor: str,
    email: str | None = None,
) -> License:
    """Issue a license for an active product under the given policy or the default. The note gives the reason.

    `email` is the holder's address.

    Raises:
        InvalidInput: the note is empty, or the e-mail address has the wrong form.
        NotFound: the product or policy doesn't exist or is archived.
    """
    if not note.strip():
        raise InvalidInput("say why, for the audit log.", Hint.GIVE_NOTE)
    if email is not None:
        check_email(email)
    product, policy = choose_policy(session, product_slug, policy_slug)
    now = session.scalars(select(func.now())).one()
    row = License(
        product_id=product.id,
        policy_id=policy.id,
        source=LicenseSource.MANUAL,
        signer=signer_id,
        holder_email=email,
        **policy.terms(now),
    )
    session.add(row)
    session.flush()
    session.refresh(row)  # load the status, which is the table's default
    start(session, row, policy, price_of(product, policy), None)
    emit_license(session, EventType.LICENSE_ISSUED, row.id)
    audit(session, actor, "license.issued", row.id, policy=policy.slug, note=note)
    return row
