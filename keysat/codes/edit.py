"""Change a code for purchases that start from now on. What it takes off never changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from keysat.codes.manage import check_limits, policy_ids_of, require_code
from keysat.core.errors import Conflict, InvalidInput
from keysat.core.texts import check_note
from keysat.models import DiscountCode
from keysat.models.audit import audit

CODE_FIELDS = {"expires_at", "max_uses", "max_uses_per_buyer", "policies", "featured", "description"}


def change_code(session: Session, code: str, changes: Mapping[str, Any], actor: str) -> DiscountCode:
    """Change columns of a code. `policies` are slugs. Slots that are taken stay taken.

    Raises:
        NotFound: no such code, or its product has no such policy.
        InvalidInput: a value is out of range.
        Conflict: more slots are taken than the new number of uses.
    """
    if unknown := sorted(set(changes) - CODE_FIELDS):
        raise InvalidInput(f"{', '.join(unknown)} can't be changed; {', '.join(sorted(CODE_FIELDS))} can.")
    check_limits(session, changes)
    check_note(changes.get("description", ""), "the description")
    row = require_code(session, code)
    session.refresh(row, with_for_update={"key_share": True})  # `uses` stays as it is until the commit
    if changes.get("max_uses") is not None and changes["max_uses"] < row.uses:
        raise Conflict(f"{row.uses:,} uses of code {row.code} are taken; the number of uses can't be less.")
    for name, value in changes.items():
        if name == "policies":
            row.policy_ids = policy_ids_of(session, row.product_id, value)
        else:
            setattr(row, name, value)
    session.flush()
    session.refresh(row)
    audit(session, actor, "code.changed", row.id, code=row.code, fields=sorted(changes))
    return row
