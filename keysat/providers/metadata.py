"""What Keysat stores in the metadata of a provider's invoice, and reads there when it finds the invoice again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from keysat.providers.base import NewInvoice
from keysat.providers.fields import optional_object

_SOURCE, _POLICY = "source", "keysatPolicy"
_KEYSAT = "keysat"


def own_metadata(wanted: NewInvoice) -> dict[str, str]:
    """Return the metadata that marks an invoice as ours and names its policy."""
    policy = {} if wanted.policy_id is None else {_POLICY: str(wanted.policy_id)}
    return {_SOURCE: _KEYSAT, **policy}


def policy_of(invoice: dict[str, Any]) -> UUID | None:
    """Return the policy that the `metadata` of a provider's invoice names, or None if Keysat didn't create it."""
    metadata = optional_object(invoice, "metadata")
    if metadata.get(_SOURCE) != _KEYSAT:
        return None
    try:
        return UUID(str(metadata.get(_POLICY)))
    except ValueError:
        return None
