"""The control side under `/sandbox/`: registers stores, acts as the buyer, sets faults, and returns the ledger."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import unquote

from keysat.core.errors import InvalidInput, KeysatError, NotFound
from keysat.sandbox.drafts import parse_draft
from keysat.sandbox.faults import FaultPlan, parse_faults
from keysat.sandbox.fields import Fields, parse_json
from keysat.sandbox.ledger import Ledger
from keysat.sandbox.lightning import Lightning
from keysat.sandbox.records import Invoice, Kind, Status, Store, Webhook
from keysat.sandbox.tally import Tally
from keysat.sandbox.views import ledger_entry
from keysat.sandbox.webhooks import Sender, WebhookPlan, parse_plan
from keysat.sandbox.wire import Request, SandboxResponse

_STORE = re.compile(r"/sandbox/stores/([^/]+)/?")
_INVOICE = re.compile(r"/sandbox/invoices/([^/]+)/([a-z-]+)/?")


class Control:
    """Handles control requests. Invalid input gets 400 and `{"message": a sentence}`, an unknown invoice 404."""

    def __init__(
        self,
        ledger: Ledger,
        faults: FaultPlan,
        webhooks: Sender,
        tally: Tally,
        lightning: Lightning,
        default_plan: WebhookPlan,
    ) -> None:
        """`default_plan` supplies the retry delays that a webhook plan omits."""
        self._ledger, self._faults, self._webhooks, self._tally = ledger, faults, webhooks, tally
        self._lightning, self._default_plan = lightning, default_plan
        self._fixed: dict[str, Callable[[Any], Any]] = {
            "PUT /sandbox/faults": self._set_faults,
            "PUT /sandbox/webhooks": self._set_webhooks,
            "GET /sandbox/ledger": self._read_ledger,
            "GET /sandbox/requests": self._read_requests,
            "PUT /sandbox/lightning": lightning.plan,
            "GET /sandbox/lightning": lightning.record,
            "DELETE /sandbox": self._reset,
        }
        self._on_invoice: dict[str, Callable[[str, Any], Invoice]] = {
            "pay": self._pay,
            "pay-lightning": lambda invoice_id, body: _plain(body, ledger.pay_lightning, invoice_id),
            "confirm": lambda invoice_id, body: _plain(body, ledger.confirm, invoice_id),
            "expire": lambda invoice_id, body: _plain(body, ledger.expire, invoice_id),
            "refund": lambda invoice_id, body: _plain(body, ledger.refund, invoice_id),
            "mark": self._mark,
        }

    def answer(self, request: Request) -> SandboxResponse:
        """Execute a control request and return its response."""
        try:
            return SandboxResponse(200, self._dispatch(request))
        except NotFound as error:
            return SandboxResponse(404, {"message": str(error)})
        except KeysatError as error:
            return SandboxResponse(400, {"message": str(error)})

    def _dispatch(self, request: Request) -> Any:
        path = request.path.rstrip("/")
        fixed = self._fixed.get(f"{request.method} {path}")
        if fixed is not None:
            return fixed(parse_json(request.body))
        store, invoice = _STORE.fullmatch(path), _INVOICE.fullmatch(path)
        if store and request.method == "POST":
            return self._create_many(unquote(store[1]), parse_json(request.body))
        if store and request.method == "PUT":
            return self._register(unquote(store[1]), parse_json(request.body))
        if invoice and request.method == "POST" and invoice[2] in self._on_invoice:
            change = self._on_invoice[invoice[2]]
            return ledger_entry(change(unquote(invoice[1]), parse_json(request.body)))
        raise NotFound("control route", f"{request.method} {request.path}")

    def _register(self, store_id: str, body: Any) -> dict[str, str]:
        fields = Fields(body, "the store", ("api_key", "webhook_url", "webhook_secret", "kind"))
        url = fields.text_or_none("webhook_url")
        if url is not None and not url.startswith(("http://", "https://")):
            raise InvalidInput("'webhook_url' of the store has to start with http:// or https://.")
        # BTCPay signs with an empty key when no secret is set, so the sandbox does too.
        secret = fields.text("webhook_secret") if fields.any("webhook_secret") else ""
        webhooks = () if url is None else (Webhook(url, secret),)
        self._ledger.register_store(Store(store_id, fields.text("api_key"), webhooks, _kind(fields)))
        return {"id": store_id}

    def _create_many(self, store_id: str, body: Any) -> dict[str, list[str]]:
        fields = Fields(body, "the invoices", ("count", "invoice"))
        draft = parse_draft(fields.any("invoice"))
        return {"ids": self._ledger.create_many(store_id, draft, fields.whole("count", minimum=1, maximum=1_000_000))}

    def _pay(self, invoice_id: str, body: Any) -> Invoice:
        fields = Fields(body, "the payment", ("amount", "confirmations", "late"))
        confirmations = fields.whole("confirmations", 1, maximum=1)
        return self._ledger.pay(
            invoice_id, fields.text_or_none("amount"), is_confirmed=confirmations == 1, late=fields.flag("late")
        )

    def _mark(self, invoice_id: str, body: Any) -> Invoice:
        wanted = Fields(body, "the mark", ("status",)).text("status")
        try:
            status = Status(wanted)
        except ValueError:
            raise InvalidInput(f"{wanted!r} is no status; mark it as Settled or Invalid.") from None
        return self._ledger.mark(invoice_id, status)

    def _set_faults(self, body: Any) -> dict[str, int]:
        faults, seed = parse_faults(body)
        self._faults.replace(faults, seed)
        return {"faults": len(faults)}

    def _set_webhooks(self, body: Any) -> dict[str, Any]:
        plan = parse_plan(body, self._default_plan)
        self._webhooks.set_plan(plan)
        return asdict(plan)

    def _read_ledger(self, _body: Any) -> dict[str, Any]:
        return {
            "invoices": self._ledger.entries(),
            "webhooks": asdict(self._webhooks.counts()),
            "requests": self._tally.requests(),
        }

    def _read_requests(self, _body: Any) -> dict[str, Any]:
        return {**self._tally.requests(), "invoice_reads": self._tally.reads()}

    def _reset(self, _body: Any) -> dict[str, str]:
        self._ledger.reset()
        self._faults.replace([], None)
        self._webhooks.reset()
        self._tally.reset()
        self._lightning.reset()
        return {}


def _kind(fields: Fields) -> Kind:
    try:
        return Kind(fields.text_or_none("kind") or Kind.BTCPAY)
    except ValueError:
        raise InvalidInput(f"'kind' of the store has to be one of {', '.join(Kind)}.") from None


def _plain(body: Any, change: Callable[[str], Invoice], invoice_id: str) -> Invoice:
    Fields(body, "the request", ())
    return change(invoice_id)
