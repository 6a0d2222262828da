"""The Lightning side: an LNURL recipient of tips, and the node behind BTCPay that pays.

Their next outcomes are drawn from lists that a test sets. The record contains what was actually paid, and how often.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from keysat.core.errors import InvalidInput
from keysat.sandbox.fields import Fields, parse_json
from keysat.sandbox.wire import Request, SandboxResponse

# Outcomes of a payment. "paid" pays and reports it. "unclear-..." responds 202 and pays, or fails. "failed" finds no
# route. "500-paid" responds 500 after the payment, "500-unheard" before the node receives the request.
NODE = ("paid", "unclear-paid", "unclear-failed", "failed", "500-paid", "500-unheard")
# Variants of the recipient's invoices, mostly defects. "plain" has a plain description, "image" a large image.
INVOICES = ("good", "amount", "network", "description", "expired", "none", "reused", "refusal", "plain", "image")
_IMAGE = 136 * 1024
_LNURL = re.compile(r"/\.well-known/lnurlp/([a-z0-9._+-]+)")
_CALLBACK = re.compile(r"/lnurl/([a-z0-9._+-]+)")


@dataclass
class Payment:
    """What the node did for one invoice: the number of requests, of payments, and of requests after a payment."""

    payment_hash: str
    amount_msat: int
    asked: int = 0
    paid: int = 0
    asked_after_paid: int = 0
    state: str = "Pending"
    max_fee_sats: str = ""


class Lightning:
    """The recipient and the node. Safe to use from many threads."""

    def __init__(self, base_url: Callable[[], str]) -> None:
        """`base_url` returns the address that the recipient's callback starts with."""
        self._base_url, self._lock = base_url, threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Remove all payments and planned failures."""
        with self._lock:
            self._payments: dict[str, Payment] = {}
            self._node, self._invoices, self._life = ["paid"], ["good"], 600
            self._random, self._last = random.Random(), ""  # noqa: S311 - chances, no secrets

    def plan(self, body: Any) -> dict[str, Any]:
        """Set the next outcomes: `{"node": [...], "invoices": [...], "seed": n, "life": seconds of an invoice}`.

        Raises:
            InvalidInput: an outcome is unknown.
        """
        fields = Fields(body, "the plan", ("node", "invoices", "seed", "life"))
        node, invoices = fields.items("node") or ["paid"], fields.items("invoices") or ["good"]
        for named, known in ((node, NODE), (invoices, INVOICES)):
            if unknown := [outcome for outcome in named if outcome not in known]:
                raise InvalidInput(f"{unknown[0]!r} is none of {', '.join(known)}.")
        with self._lock:
            self._node, self._invoices = node, invoices
            self._life = fields.whole("life", 600, maximum=86_400)
            self._random.seed(fields.whole("seed") if fields.has("seed") else None)
        return {"node": node, "invoices": invoices}

    def record(self, _body: Any) -> dict[str, Any]:
        """Return all payments that were requested from the node."""
        with self._lock:
            return {"payments": [asdict(payment) for payment in self._payments.values()]}

    def speaks(self, path: str) -> bool:
        """Return whether the path is one of the recipient's."""
        return bool(_LNURL.fullmatch(path) or _CALLBACK.fullmatch(path))

    def recipient(self, request: Request) -> SandboxResponse:
        """Respond as the recipient of tips."""
        if importlib.util.find_spec("bolt11") is None:
            return SandboxResponse(501, {"status": "ERROR", "reason": "the sandbox needs keysat[lightning] for this"})
        if match := _LNURL.fullmatch(request.path):
            return SandboxResponse(200, self._offer(match[1]))
        match = _CALLBACK.fullmatch(request.path)
        amount = (request.query.get("amount") or [""])[0]
        if match is None or not amount.isascii() or not amount.isdigit():
            return SandboxResponse(400, {"status": "ERROR", "reason": "amount is missing"})
        with self._lock:
            flaw = self._random.choice(self._invoices)
        if flaw == "refusal":
            return SandboxResponse(400, {"status": "ERROR", "reason": "not today"})
        if flaw == "none":
            return SandboxResponse(200, {"pr": "lnbcrt1nothing", "routes": []})
        if flaw != "reused" or not self._last:
            self._last = self._invoice(int(amount), self._metadata(match[1]), flaw)
        return SandboxResponse(200, {"pr": self._last, "routes": []})

    def pay(self, request: Request) -> SandboxResponse:
        """Pay an invoice as the node behind BTCPay does, or fail as planned."""
        from bolt11 import decode  # noqa: PLC0415 - an extra that may be missing

        body = parse_json(request.body)
        decoded = decode(str(body.get("BOLT11")))
        with self._lock:
            does = self._random.choice(self._node)
            if does == "500-unheard":
                return SandboxResponse(500, {"code": "generic-error", "message": "The node was busy"})
            new = Payment(decoded.payment_hash, int(decoded.amount_msat or 0))
            payment = self._payments.setdefault(decoded.payment_hash, new)
            payment.asked, payment.max_fee_sats = payment.asked + 1, str(body.get("maxFeeFlat"))
            if payment.paid:  # nodes pay a payment hash only once
                payment.asked_after_paid += 1
                return SandboxResponse(400, {"code": "generic-error", "message": "The invoice is already paid"})
            if does.endswith("paid"):
                payment.paid, payment.state = payment.paid + 1, "Complete"
            else:
                payment.state = "Failed"
        if does.startswith("unclear"):
            return SandboxResponse(202, {"status": "Unknown"})
        if does == "500-paid":
            return SandboxResponse(500, {"code": "generic-error", "message": "The node was busy"})
        if does == "failed":
            return SandboxResponse(400, {"code": "could-not-find-route", "message": "There was no route"})
        return SandboxResponse(200, _payment_data(payment))

    def find(self, payment_hash: str) -> SandboxResponse:
        """Return the state of a payment."""
        with self._lock:
            payment = self._payments.get(payment_hash)
        if payment is None:
            return SandboxResponse(404, {"code": "payment-not-found", "message": "The payment was not found"})
        return SandboxResponse(200, _payment_data(payment))

    def _offer(self, user: str) -> dict[str, Any]:
        return {
            "tag": "payRequest",
            "callback": f"{self._base_url()}/lnurl/{user}",
            "minSendable": 1_000,
            "maxSendable": 10**14,
            "metadata": self._metadata(user),
        }

    def _metadata(self, user: str) -> str:
        entries = [["text/identifier", user], ["text/plain", f"A tip for {user}"]]
        with self._lock:
            image = "image" in self._invoices
        return json.dumps([*entries, ["image/png;base64", "A" * _IMAGE]] if image else entries)

    def _invoice(self, amount_msat: int, metadata: str, flaw: str) -> str:
        from bolt11 import Bolt11, MilliSatoshi, Tag, TagChar, Tags, encode  # noqa: PLC0415 - as above

        described = metadata if flaw != "description" else f"{metadata} "
        tags = [
            Tag(TagChar.payment_hash, os.urandom(32).hex()),
            Tag(TagChar.payment_secret, os.urandom(32).hex()),
            Tag(TagChar.description, "A tip")
            if flaw == "plain"
            else Tag(TagChar.description_hash, hashlib.sha256(described.encode()).hexdigest()),
            Tag(TagChar.expire_time, self._life),
        ]
        made = int(time.time()) - (self._life + 60 if flaw == "expired" else 0)
        network = "bc" if flaw == "network" else "bcrt"
        amount = MilliSatoshi(amount_msat * 2 if flaw == "amount" else amount_msat)
        return str(encode(Bolt11(network, made, Tags(tags), amount), os.urandom(32).hex()))


def _payment_data(payment: Payment) -> dict[str, Any]:
    """Return a payment in BTCPay's shape. Amounts are strings in millisatoshis."""
    return {
        "paymentHash": payment.payment_hash,
        "status": payment.state,
        "totalAmount": str(payment.amount_msat),
        "feeAmount": "1000",
    }
