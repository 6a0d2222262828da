"""Why a buyer has no license yet, in one sentence with the exact next command."""

from __future__ import annotations

from keysat.cli.hints import explained
from keysat.core.hints import Advice
from keysat.operations.why import Why
from keysat.operations.why_sentence import sentence


def why_line(why: Why) -> str:
    """Return the sentence with the command."""
    return explained(Advice(sentence(why), why.hint, {"invoice_id": why.invoice_id, "account": why.account}))
