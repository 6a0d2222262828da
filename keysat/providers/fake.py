"""An in-memory provider without a network, for tests and simulations.

`FakeServer` stores the invoices, and tests set their state. `Fake` is the adapter that Keysat uses. Both run in one
process. Register it with `registry.register(Fake)` where needed. A running Keysat doesn't register it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Unpack
from uuid import uuid4

from keysat.core.errors import CredentialsRejected, RemoteNotFound
from keysat.core.money import Money
from keysat.models.invoice_status import PaymentException
from keysat.net.client import Limits
from keysat.providers.base import (
    CreatedInvoice,
    FoundInvoice,
    InvoicePage,
    InvoiceSnapshot,
    NewInvoice,
    Provider,
    ProviderStatus,
    ReceivedEvent,
    Webhook,
)
from keysat.providers.signed_events import read_event, require_signature

_LIFE = timedelta(minutes=15)


@dataclass
class FakeServer:
    """The state of one fake provider: the API keys of its stores, and the snapshots to return."""

    api_keys: dict[str, str] = field(default_factory=dict)
    snapshots: dict[str, InvoiceSnapshot] = field(default_factory=dict)
    wanted: list[NewInvoice] = field(default_factory=list)
    requests: int = 0
    trouble: Exception | None = None
    rejected_invoices: set[str] = field(default_factory=set)

    def say(
        self,
        invoice_id: str,
        status: ProviderStatus,
        exception: PaymentException = PaymentException.NONE,
        paid: int | None = None,
    ) -> None:
        """Set the state of an invoice. `paid` is in the smallest unit of its currency."""
        before = self.snapshots[invoice_id]
        assert before.charged is not None
        amount = before.paid if paid is None else Money(paid, before.charged.currency)
        self.snapshots[invoice_id] = replace(
            before, status=status, exception=exception, paid=amount, provider_status=f"{status}/{exception}"
        )


_servers: dict[str, FakeServer] = {}


def fake_server(base_url: str) -> FakeServer:
    """Return the fake server at a URL of the form `fake://name`, created on first use."""
    return _servers.setdefault(base_url, FakeServer())


class Fake(Provider):
    """The adapter for a `FakeServer`. Credentials are the same as BTCPay's: `api_key` and `webhook_secret`."""

    kind: ClassVar[str] = "fake"
    lists_invoices: ClassVar[bool] = True

    def __init__(self, base_url: str, store_id: str, credentials: Mapping[str, str], **limits: Unpack[Limits]) -> None:
        del limits  # nothing here takes time or space
        self._server, self._store_id, self._credentials = fake_server(base_url), store_id, credentials

    def _ask(self) -> FakeServer:
        self._server.requests += 1
        if self._server.trouble is not None:
            raise self._server.trouble
        if self._server.api_keys.get(self._store_id) != self._credentials["api_key"]:
            raise CredentialsRejected("the fake provider rejected our credentials (401).")
        return self._server

    def create_invoice(self, wanted: NewInvoice) -> CreatedInvoice:
        server = self._ask()
        server.wanted.append(wanted)
        invoice_id = f"{self._store_id}-{uuid4().hex}"
        snapshot = InvoiceSnapshot(
            provider_invoice_id=invoice_id,
            status=ProviderStatus.PENDING,
            exception=PaymentException.NONE,
            charged=wanted.price,
            paid=Money(0, wanted.price.currency),
            order_id=wanted.order_id,
            provider_status="pending/none",
            expires_at=datetime.now(UTC).replace(microsecond=0) + _LIFE,
        )
        server.snapshots[invoice_id] = snapshot
        return _created(snapshot)

    def find_invoices(self, order_id: str) -> list[FoundInvoice]:
        snapshots = self._ask().snapshots.values()
        found = [
            snapshot
            for snapshot in snapshots
            if snapshot.order_id == order_id and self._owns(snapshot.provider_invoice_id)
        ]
        return [FoundInvoice(_created(snapshot), snapshot) for snapshot in found]

    def list_invoices(self, since: datetime, until: datetime, skip: int, take: int) -> InvoicePage:
        del since, until  # everything in memory is recent
        mine = [snapshot for snapshot in self._ask().snapshots.values() if self._owns(snapshot.provider_invoice_id)]
        page = tuple(FoundInvoice(_created(snapshot), snapshot) for snapshot in mine[::-1][skip : skip + take])
        return InvoicePage(page, (), len(page), None, is_last=len(page) < take)

    def get_invoice(self, provider_invoice_id: str) -> InvoiceSnapshot:
        server = self._ask()
        if provider_invoice_id in server.rejected_invoices:
            raise CredentialsRejected("the fake provider rejected our credentials for this invoice (403).")
        if not self._owns(provider_invoice_id) or provider_invoice_id not in server.snapshots:
            raise RemoteNotFound(f"the fake provider knows no invoice {provider_invoice_id} (404).")
        return server.snapshots[provider_invoice_id]

    def _owns(self, provider_invoice_id: str) -> bool:
        return provider_invoice_id.startswith(f"{self._store_id}-")

    def check_credentials(self) -> None:
        self._ask()

    def parse_webhook(self, webhook: Webhook) -> ReceivedEvent:
        require_signature(self._credentials["webhook_secret"], webhook.body, webhook.headers.get("fake-sig", ""))
        return read_event(webhook.body)[0]


def _created(snapshot: InvoiceSnapshot) -> CreatedInvoice:
    invoice_id = snapshot.provider_invoice_id
    return CreatedInvoice(invoice_id, f"https://pay.example/i/{invoice_id}", snapshot.expires_at)
