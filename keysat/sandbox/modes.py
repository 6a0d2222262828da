"""The providers that the sandbox can pretend to be. Another one is a file, a name in `Kind`, and an entry here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from keysat.sandbox.deliveries import Message
from keysat.sandbox.ledger import Ledger
from keysat.sandbox.lightning import Lightning
from keysat.sandbox.opennode import OpenNode, charge_messages
from keysat.sandbox.provider import Provider, Route
from keysat.sandbox.records import Event, Kind, Store
from keysat.sandbox.webhook_data import btcpay_messages
from keysat.sandbox.wire import Request, SandboxResponse
from keysat.sandbox.zaprite import Zaprite
from keysat.sandbox.zaprite_views import order_messages


class Side(Protocol):
    """The HTTP API of one provider, over the ledger."""

    def route(self, request: Request) -> Route: ...
    def answer(self, request: Request, route: Route) -> SandboxResponse: ...


@dataclass(frozen=True)
class Mode:
    """One provider: the paths of its API, that API over a ledger, and the webhooks that an event leads to."""

    paths: re.Pattern[str]
    side: Callable[[Ledger, Callable[[], str], Lightning], Side]
    messages: Callable[[Store, Event], Iterable[Message]]


# The first one whose paths match has the request.
MODES = {
    Kind.OPENNODE: Mode(re.compile("/v1/charges?(/|$)"), lambda ledger, url, _: OpenNode(ledger, url), charge_messages),
    Kind.ZAPRITE: Mode(re.compile("/v1/"), lambda ledger, url, _: Zaprite(ledger, url), order_messages),
    Kind.BTCPAY: Mode(re.compile(""), Provider, btcpay_messages),
}
