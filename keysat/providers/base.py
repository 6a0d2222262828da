"""The interface that a payment provider implements.

An adapter raises the `Remote...` errors of `keysat.core.errors`, and maps unknown statuses to `UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Protocol
from uuid import UUID

from keysat.core.money import Money
from keysat.models.invoice_status import PaymentException
from keysat.providers.lightning import LightningPayment, ReceivedPayments
from keysat.providers.refusals import NotSupported


class ProviderStatus(StrEnum):
    """The statuses that a provider can report for an invoice."""

    PENDING = "pending"
    PROCESSING = "processing"
    SETTLED = "settled"
    EXPIRED = "expired"
    INVALID = "invalid"
    REFUNDED = "refunded"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class InvoiceSnapshot:
    """The state of an invoice that a provider reports at one moment.

    `charged` is the amount requested from the buyer, and `paid` the amount received. Each is None if the provider
    doesn't report it. `order_id` is our invoice id as stored by the provider. `provider_status` is the provider's
    own status, for display. `unconfirmed` means that a payment was seen and isn't confirmed yet. `expires_at` is until
    when it can be paid, None if the provider doesn't report it.
    """

    provider_invoice_id: str
    status: ProviderStatus
    exception: PaymentException
    charged: Money | None
    paid: Money | None
    order_id: str | None
    provider_status: str
    unconfirmed: bool = False
    expires_at: datetime | None = None

    @property
    def payment_seen(self) -> bool:
        """Whether money was received or is on its way."""
        on_its_way = self.unconfirmed or self.status is ProviderStatus.PROCESSING
        return on_its_way or (self.paid is not None and self.paid.amount > 0)


@dataclass(frozen=True)
class NewInvoice:
    """A request for a new invoice. `order_id` is our invoice id, `policy_id` the policy that it pays for.

    `callback_url` is where the invoice's webhooks go, for a provider that takes one with each invoice.
    """

    order_id: str
    price: Money
    description: str
    buyer_email: str | None = None
    redirect_url: str | None = None
    callback_url: str | None = None
    policy_id: UUID | None = None


@dataclass(frozen=True)
class CreatedInvoice:
    """The provider's id of a new invoice, its checkout URL, and until when it can be paid, if reported."""

    provider_invoice_id: str
    checkout_url: str
    expires_at: datetime | None = None


@dataclass(frozen=True)
class FoundInvoice:
    """An invoice that the provider created for our order: its state, creation time, and the policy that we gave.

    `created_at` and `policy_id` are None if the provider doesn't report them.
    """

    created: CreatedInvoice
    snapshot: InvoiceSnapshot
    created_at: datetime | None = None
    policy_id: UUID | None = None


@dataclass(frozen=True)
class UnreadableInvoice:
    """An entry of a provider's list that can't be read, with its ids if present."""

    provider_invoice_id: str | None
    order_id: str | None
    why: str


@dataclass(frozen=True)
class InvoicePage:
    """A page of a provider's list, split into readable and unreadable entries.

    `count` is the number of entries. `oldest` is their earliest creation time, if known. No page follows the last.
    """

    found: tuple[FoundInvoice, ...]
    unreadable: tuple[UnreadableInvoice, ...]
    count: int
    oldest: datetime | None
    is_last: bool


@dataclass(frozen=True)
class Webhook:
    """A webhook as received. `token` is the secret part of its path, for providers that don't sign."""

    headers: Mapping[str, str]
    body: bytes
    token: str = ""


@dataclass(frozen=True)
class ReceivedEvent:
    """A verified webhook. It names the invoice to check at the provider. Nothing else in it is trusted.

    `delivery_id` is the same for each copy of one delivery. `provider_invoice_id` is None for a test delivery.
    `order_id` is our invoice id, if the event contains one.
    """

    delivery_id: str
    kind: str
    provider_invoice_id: str | None
    order_id: str | None = None


class Provider(Protocol):
    """One store at one provider, with its credentials. Every call ends within the configured deadline."""

    kind: ClassVar[str]
    has_stores: ClassVar[bool] = True  # accounts of a kind without stores are stored with "-"
    proves_payments: ClassVar[bool] = False  # whether `received` has the hashes of Lightning payments
    # Whether the webhook's URL ends with the account's secret, because the provider doesn't sign.
    token_in_url: ClassVar[bool] = False
    # Whether each invoice carries our webhook's URL, which is then registered nowhere and has no secret of ours.
    callback_per_invoice: ClassVar[bool] = False
    # Whether it finds an invoice by our id. Others find it only by their own id, which a webhook names.
    finds_by_order: ClassVar[bool] = True
    default_url: ClassVar[str | None] = None
    pays_lightning: ClassVar[bool] = False
    lists_invoices: ClassVar[bool] = False
    # Whether its list can be limited to a time span. Otherwise a sweep uses pages only.
    lists_by_date: ClassVar[bool] = True
    max_page: ClassVar[int] = 200

    def create_invoice(self, wanted: NewInvoice) -> CreatedInvoice:
        """Create an invoice. Raises the `Remote...` errors."""
        ...

    def get_invoice(self, provider_invoice_id: str) -> InvoiceSnapshot:
        """Return the state of this invoice.

        Raises:
            RemoteUnavailable, RemoteNotFound, RemoteRefused, CredentialsRejected: as `keysat.net.client`.
            RemoteResponseInvalid: the response's shape is wrong, or it is about another invoice or store.
        """
        ...

    def find_invoices(self, order_id: str) -> list[FoundInvoice]:
        """Return the invoices created for our order, or an empty list.

        Raises:
            NotSupported: it finds none by our id.
            RemoteUnavailable, RemoteRefused, CredentialsRejected, RemoteResponseInvalid: as `get_invoice`.
        """
        raise NotSupported(self.kind, "find an invoice by our id")

    def find_named(self, provider_invoice_id: str) -> FoundInvoice:
        """Read an invoice that a webhook names, with its order and where it is paid.

        Raises:
            NotSupported: it finds invoices by our id.
            RemoteError: as `get_invoice`.
        """
        raise NotSupported(self.kind, "read an invoice that a webhook names; it finds invoices by our id")

    def list_invoices(self, since: datetime, until: datetime, skip: int, take: int) -> InvoicePage:
        """Return the invoices created in a time span, newest first, without the first `skip`, at most `take`.

        Both ends are whole seconds and included in the span. Archived invoices are included.

        Raises:
            NotSupported: the provider only supports reading one invoice at a time.
            RemoteUnavailable, RemoteRefused, CredentialsRejected, RemoteResponseInvalid: as `get_invoice`.
        """
        raise NotSupported(self.kind, "list its invoices by date, so the scan checks each by itself")

    def received(self, provider_invoice_id: str) -> ReceivedPayments | None:
        """Return what an invoice received, or None if the provider doesn't report single payments.

        Raises:
            RemoteUnavailable, RemoteRefused, CredentialsRejected, RemoteResponseInvalid: as `get_invoice`.
        """
        return None

    def check_credentials(self) -> None:
        """Make a harmless request that needs the credentials. Raises the `Remote...` errors."""
        ...

    def connect_webhook(self, url: str, secret: str) -> None:
        """Register `url` as our webhook, signed with `secret`. An older webhook with the same URL is replaced.

        Raises:
            NotSupported: the webhook can only be registered by hand. The message explains how.
            PermissionMissing: the credentials don't permit it. The message names the missing permission.
            RemoteUnavailable, RemoteRefused, CredentialsRejected, RemoteResponseInvalid: as `get_invoice`.
        """
        raise NotSupported(self.kind, "register a webhook by itself")

    def parse_webhook(self, webhook: Webhook) -> ReceivedEvent:
        """Verify a webhook's signature or token and parse it.

        Raises:
            WebhookRejected: it is forged or malformed.
        """
        ...

    def pay_lightning_invoice(self, bolt11: str, max_fee_msat: int) -> LightningPayment:
        """Pay a BOLT11 invoice with a max fee in millisatoshi. An unclear outcome is `UNKNOWN`.

        Raises:
            NotSupported: this provider has no outgoing payments.
            InvalidInput: the fee limit is too low to be sent to the provider. Nothing was paid.
        """
        raise NotSupported(self.kind, "pay a Lightning invoice")

    def find_lightning_payment(self, payment_hash: str) -> LightningPayment:
        """Return the outcome of a payment, found by its hash in hex.

        Raises:
            NotSupported: this provider has no outgoing payments.
        """
        raise NotSupported(self.kind, "look up a Lightning payment")
