"""Client of a sandbox's control side. It acts as the buyer and the merchant, and configures faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote

import requests

from keysat.core.errors import RemoteNotFound, RemoteRefused, RemoteResponseInvalid, RemoteUnavailable

_SECONDS = 10.0


class SandboxClient:
    """Client of one sandbox over keep-alive connections. Also a context manager that closes them.

    Each method raises RemoteRefused (the error states the sandbox's reason), RemoteNotFound (no such invoice),
    RemoteUnavailable (no response) or RemoteResponseInvalid (the response isn't a sandbox's).
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._session.close()

    def register_store(
        self,
        store_id: str,
        api_key: str,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        *,
        kind: str = "btcpay",
    ) -> None:
        """Add a store, or replace its key, webhooks and kind, one of `keysat.sandbox.records.Kind`."""
        body = {"api_key": api_key, "webhook_url": webhook_url, "webhook_secret": webhook_secret, "kind": kind}
        self._call("PUT", f"stores/{quote(store_id, safe='')}", body)

    def create_many(self, store_id: str, count: int, invoice: Mapping[str, Any]) -> list[str]:
        """Open `count` identical invoices, created one second apart up to now. Returns their ids.

        `invoice` is the body of BTCPay's own call.
        """
        body = {"count": count, "invoice": dict(invoice)}
        ids: list[str] = self._call("POST", f"stores/{quote(store_id, safe='')}", body)["ids"]
        return ids

    def pay(
        self, invoice_id: str, amount: str | None = None, *, confirmations: int = 1, late: bool = False
    ) -> dict[str, Any]:
        """Pay `amount` (a decimal string in whole units, None: the missing amount). Returns the ledger's entry.

        `confirmations` is 0 or 1. `late` expires the invoice first, in the same step.
        """
        body: dict[str, Any] = {"confirmations": confirmations, "late": late}
        return self._change(invoice_id, "pay", body if amount is None else {**body, "amount": amount})

    def pay_lightning(self, invoice_id: str) -> dict[str, Any]:
        """Pay the missing amount over Lightning, at a BTCPay store. The entry's payment has the preimage."""
        return self._change(invoice_id, "pay-lightning")

    def confirm(self, invoice_id: str) -> dict[str, Any]:
        """Confirm all unconfirmed payments. Returns the ledger's entry."""
        return self._change(invoice_id, "confirm")

    def expire(self, invoice_id: str) -> dict[str, Any]:
        """Expire the invoice now. Returns the ledger's entry."""
        return self._change(invoice_id, "expire")

    def mark(self, invoice_id: str, status: str) -> dict[str, Any]:
        """Mark the invoice `Settled` or `Invalid` by hand. Returns the ledger's entry."""
        return self._change(invoice_id, "mark", {"status": status})

    def refund(self, invoice_id: str) -> dict[str, Any]:
        """Refund the buyer and mark the invoice invalid. Returns the ledger's entry."""
        return self._change(invoice_id, "refund")

    def set_lightning(
        self, node: Sequence[str] = (), invoices: Sequence[str] = (), *, seed: int | None = None, life: int = 600
    ) -> None:
        """Set the outcomes that the paying node and the recipient of tips draw from. See `sandbox.lightning`."""
        body: dict[str, Any] = {"node": list(node), "invoices": list(invoices), "life": life}
        self._call("PUT", "lightning", body if seed is None else {**body, "seed": seed})

    def lightning_payments(self) -> list[dict[str, Any]]:
        """Return the payments that were requested from the node, and how often it paid each."""
        payments: list[dict[str, Any]] = self._call("GET", "lightning")["payments"]
        return payments

    def set_faults(self, faults: Sequence[Mapping[str, Any]], seed: int | None = None) -> None:
        """Replace all faults. An empty list removes them. The package's docstring lists the kinds."""
        self._call("PUT", "faults", {"faults": [dict(fault) for fault in faults], "seed": seed})

    def set_webhooks(
        self,
        *,
        drop: float = 0.0,
        duplicate: float = 0.0,
        delay_seconds: tuple[float, float] = (0.0, 0.0),
        reorder: bool = False,
        seed: int | None = None,
        retry_delays: Sequence[float] | None = None,
    ) -> None:
        """Replace the delivery plan. Probabilities are from 0 to 1, delays in seconds.

        Without arguments, webhooks are delivered at once and in order.
        """
        plan: dict[str, Any] = {"drop": drop, "duplicate": duplicate, "delay_seconds": list(delay_seconds)}
        plan |= {"reorder": reorder, "seed": seed}
        if retry_delays is not None:
            plan["retry_delays"] = list(retry_delays)
        self._call("PUT", "webhooks", plan)

    def ledger(self) -> dict[str, Any]:
        """Return `invoices`, `webhooks` and `requests` in the shape that the package's docstring shows."""
        return self._call("GET", "ledger")

    def requests_made(self) -> dict[str, Any]:
        """Return `total`, `by_store`, `by_route`, and `invoice_reads` (GETs for each invoice id)."""
        return self._call("GET", "requests")

    def reset(self) -> None:
        """Remove all stores, invoices, faults and pending webhooks. Reset the delivery plan and the counters."""
        self._call("DELETE", "")

    def _change(self, invoice_id: str, action: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self._call("POST", f"invoices/{quote(invoice_id, safe='')}/{action}", body or {})

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        url = f"{self._url}/sandbox/{path}".rstrip("/")
        try:
            response = self._session.request(method, url, json=body, timeout=_SECONDS, allow_redirects=False)
        except (requests.RequestException, ValueError) as error:
            reason = type(error).__name__
            raise RemoteUnavailable(f"no sandbox responds at {self._url} ({reason}); is it started?") from error
        return _decode(response, f"the sandbox at {self._url}")


def _decode(response: requests.Response, name: str) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise RemoteResponseInvalid(f"{name} answered {response.status_code} with something else than it should.")
    if response.status_code == 200:
        return answer
    message = f"{name} refused: {answer.get('message', response.status_code)}"
    raise (RemoteNotFound if response.status_code == 404 else RemoteRefused)(message)
