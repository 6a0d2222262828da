"""A buyer's order, and the two refusals of a repeated one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from uuid import UUID

from keysat.core.errors import Conflict
from keysat.core.mailbox import check_email
from keysat.core.texts import check_http_url, check_note


class PurchaseFailed(Conflict):
    """The purchase of an earlier request with this idempotency key failed."""

    def __init__(self) -> None:
        super().__init__("this purchase failed; start a new one, with another idempotency key.")


class PurchaseInProgress(Conflict):
    """An earlier request may still be creating the invoice at the provider. `keyed`: it had an idempotency key."""

    def __init__(self, invoice_id: UUID, *, keyed: bool) -> None:
        self.invoice_id = invoice_id
        again = ", with the same idempotency key" if keyed else ""
        super().__init__(f"this purchase is still in progress; try again in a moment{again}.")


@dataclass(frozen=True)
class Order:
    """A buyer's order: slugs, and a code in upper or lower case.

    `account` is the name of the provider account. None selects one that sells. `only_free` refuses the order unless
    the code makes the license free. The same `idempotency_key` with the same order returns the same invoice. `trial`
    begins with the policy's trial if it has one, unless there is a code. `machine` is the SHA-256 of the fingerprint
    that has it.
    """

    product: str
    policy: str | None = None
    code: str | None = None
    buyer_email: str | None = None
    buyer_note: str | None = None
    redirect_url: str | None = None
    account: str | None = None
    only_free: bool = False
    idempotency_key: str | None = None
    trial: bool = True
    machine: bytes | None = None

    def check(self) -> None:
        """Validate that the buyer's texts can be stored and sent to a provider. Raises `InvalidInput`."""
        if self.buyer_email is not None:
            check_email(self.buyer_email)
        if self.buyer_note is not None:
            check_note(self.buyer_note)
        if self.redirect_url is not None:
            check_http_url(self.redirect_url)

    @property
    def fingerprint(self) -> bytes:
        """The SHA-256 of all fields except the idempotency key."""
        facts = {name: value for name, value in asdict(self).items() if name != "idempotency_key"}
        # A request without these has the hash that the version before stored.
        machine, trial = facts.pop("machine"), facts.pop("trial")
        facts |= ({} if trial else {"trial": False}) | ({} if machine is None else {"machine": machine.hex()})
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()
