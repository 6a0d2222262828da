"""Request an invoice from a Lightning Address (LUD-06, LUD-16), with the client for untrusted URLs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from keysat.core.errors import KeysatError, RemoteResponseInvalid
from keysat.core.texts import printable
from keysat.net.lightning_address import LightningAddress
from keysat.net.untrusted import UntrustedClient

_OK = 200


class RecipientRefused(KeysatError):
    """The recipient doesn't accept this payment."""


@dataclass(frozen=True)
class Offered:
    """The recipient's invoice, and the expected hash of its description, for invoices that contain a hash."""

    bolt11: str
    description_hash: str


def ask_for_invoice(client: UntrustedClient, address: LightningAddress, amount_msat: int) -> Offered:
    """Fetch the payment offer, then request an invoice for exactly this amount.

    Raises:
        RecipientRefused: the amount is outside the recipient's limits, or the recipient returns an error.
        RemoteResponseInvalid: the response isn't LNURL-pay.
        RemoteUnavailable, AddressRefused, InvalidInput: as `ForeignClient.request`.
    """
    offer = _get(client, address.url, address)
    callback, metadata, bounds = offer.get("callback"), offer.get("metadata"), _bounds(offer)
    texts = isinstance(callback, str) and isinstance(metadata, str)
    if offer.get("tag") != "payRequest" or not texts or bounds is None:
        raise RemoteResponseInvalid(f"{address.host} sent no LNURL-pay offer for {address}.")
    min_msat, max_msat = bounds
    if not min_msat <= amount_msat <= max_msat:
        raise RecipientRefused(
            f"{address} takes {min_msat:,} to {max_msat:,} msat, and the tip is {amount_msat:,} msat."
        )
    answer = _get(client, _with_amount(str(callback), amount_msat), address)
    invoice = answer.get("pr")
    if not isinstance(invoice, str):
        raise RemoteResponseInvalid(f"{address.host} sent no invoice for {address}.")
    return Offered(invoice.strip(), hashlib.sha256(str(metadata).encode("utf-8", "surrogatepass")).hexdigest())


def _with_amount(callback: str, amount_msat: int) -> str:
    url = callback.partition("#")[0]
    return f"{url}{'&' if '?' in url else '?'}{urlencode({'amount': amount_msat})}"


def _bounds(offer: dict[str, Any]) -> tuple[int, int] | None:
    min_msat, max_msat = offer.get("minSendable"), offer.get("maxSendable")
    return (min_msat, max_msat) if type(min_msat) is int and type(max_msat) is int else None


def _get(client: UntrustedClient, url: str, address: LightningAddress) -> dict[str, Any]:
    answer = client.request("GET", url, headers={"Accept": "application/json"})
    try:
        fields = None if answer.truncated else json.loads(answer.body)
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, dict) and str(fields.get("status")).upper() == "ERROR":  # with any HTTP status
        raise RecipientRefused(f"{address} says: {printable(str(fields.get('reason') or 'no'))[:200]}.")
    if answer.status != _OK or not isinstance(fields, dict):
        raise RemoteResponseInvalid(f"{address.host} answered {answer.status} without a usable LNURL response.")
    return fields
