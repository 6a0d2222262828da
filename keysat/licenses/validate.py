"""Validate a key for a product, on a machine, now."""

from __future__ import annotations

from dataclasses import replace

from keysat.core.db import Begin
from keysat.licenses.seats import Caller, occupy
from keysat.licenses.standing import KeyReader, Reason, Verdict


def validate(
    read: Begin,
    begin: Begin,
    read_key: KeyReader,
    key: str,
    product_slug: str | None = None,
    caller: Caller | None = None,
) -> Verdict:
    """Return whether a key is valid. Without a product or a caller, any product or machine is accepted.

    A license with one seat is bound to the first machine that uses it. Others get a fingerprint mismatch.
    """
    verdict = occupy(read, begin, read_key, key, product_slug, caller)
    standing = verdict.standing
    if verdict.reason == Reason.TOO_MANY_MACHINES and standing is not None and standing.max_machines == 1:
        return replace(verdict, reason=Reason.FINGERPRINT_MISMATCH)
    return verdict
