"""The hints of errors in the API's terms: the field that is missing. Other hints are for operators and are left out."""

from __future__ import annotations

from keysat.core.errors import KeysatError
from keysat.core.hints import Hint


def described(error: KeysatError) -> str:
    """Return the sentence of an error for a client of the API."""
    match error.hint:
        case Hint.GIVE_NOTE:
            return f"note: {error}"
        case Hint.GIVE_NOTE_ON_TIP:
            return f"{str(error).removesuffix('.')}: `note` of /v1/admin/tips/{error.facts['tip_id']}/release."
        case _:
            return str(error)
