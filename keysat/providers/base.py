"""What Keysat needs of a payment provider, in its own words.

An adapter translates one provider's API into these shapes. Its errors are the `Remote...` family of
`keysat.core.errors`; a status it doesn't know is `ProviderStatus.UNKNOWN`, an answer of its own that changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Protocol
from uuid import UUID

from keysat.core.money import Money
from keysat.models.invoice import PaymentException
from keysat.providers.refusals import NotSupported


class ProviderStatus(StrEnum):
    """What a provider can say of an invoice."""

    PENDING = "pending"
    PROCESSING = "processing"
    SETTLED = "settled"
    EXPIRED = "expired"
    INVALID = "invalid"
    REFUNDED = "refunded"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class InvoiceSnapshot:
    """What a provider says of an invoice at one moment.

    `charged` is what the buyer was asked for, `paid` what came in; each None where the provider doesn't tell.
    `order_id` is our invoice id as the provider kept it. `said` is the provider's own status, for people.
    `unconfirmed`: a payment was seen that isn't confirmed yet.
    """

    provider_invoice_id: str
    status: ProviderStatus
    exception: PaymentException
    charged: Money | None
    paid: Money | None
    order_id: str | None
    said: str
    unconfirmed: bool = False

    @property
    def payment_seen(self) -> bool:
        """Whether money came in, or is on its way."""
        on_its_way = self.unconfirmed or self.status is ProviderStatus.PROCESSING
        return on_its_way or (self.paid is not None and self.paid.amount > 0)


@dataclass(frozen=True)
class NewInvoice:
    """What a provider is asked to charge; `order_id` is our invoice id, `policy_id` what it is for."""

    order_id: str
    price: Money
    description: str
    buyer_email: str | None = None
    redirect_url: str | None = None
    policy_id: UUID | None = None


@dataclass(frozen=True)
class CreatedInvoice:
    """The provider's id of a new invoice, and where the buyer pays it."""

    provider_invoice_id: str
    checkout_url: str


@dataclass(frozen=True)
class FoundInvoice:
    """An invoice that the provider made for an order of ours, its state, when it was made, and what for we said it was.

    `created_at` and `policy_id` are None where the provider doesn't tell.
    """

    created: CreatedInvoice
    snapshot: InvoiceSnapshot
    created_at: datetime | None = None
    policy_id: UUID | None = None


@dataclass(frozen=True)
class UnreadableInvoice:
    """An entry of a provider's list that can't be read; the ids where it has them."""

    provider_invoice_id: str | None
    order_id: str | None
    why: str


@dataclass(frozen=True)
class InvoicePage:
    """A page of a provider's list: what could be read, and what couldn't.

    `count` entries came, of which `oldest` is the earliest time, where they tell it. `is_last`: no more follow.
    """

    found: tuple[FoundInvoice, ...]
    unreadable: tuple[UnreadableInvoice, ...]
    count: int
    oldest: datetime | None
    is_last: bool


@dataclass(frozen=True)
class Webhook:
    """A webhook as it came in. `token` is the secret part of its path, for providers that don't sign."""

    headers: Mapping[str, str]
    body: bytes
    token: str = ""


@dataclass(frozen=True)
class ProviderEvent:
    """A verified webhook: which invoice to ask the provider about. Nothing else in it is believed.

    `delivery_id` is the same for each copy of one delivery; `provider_invoice_id` is None for a test delivery.
    `order_id` is our invoice id where the event carries one.
    """

    delivery_id: str
    kind: str
    provider_invoice_id: str | None
    order_id: str | None = None


class PaymentState(StrEnum):
    """What became of an outgoing Lightning payment; only `failed` means that it may be tried anew."""

    PAID = "paid"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class LightningPayment:
    """The outcome of paying a BOLT11 invoice; `fee_msat` in millisatoshi where the provider tells.

    `unheard_of`: the provider was asked about the payment and has none of that hash.
    """

    payment_hash: str | None
    state: PaymentState
    fee_msat: int | None = None
    unheard_of: bool = False


class Provider(Protocol):
    """One store at one provider, with its credentials. Every call ends within the configured deadline."""

    kind: ClassVar[str]
    # Accounts of a kind without stores are stored with "-".
    has_stores: ClassVar[bool] = True
    # Whether the webhook's URL ends with the account's secret, because the provider doesn't sign.
    token_in_url: ClassVar[bool] = False
    default_url: ClassVar[str | None] = None
    pays_lightning: ClassVar[bool] = False
    lists_invoices: ClassVar[bool] = False
    # Whether its list is limited to a span of time; else a sweep goes through pages alone.
    lists_by_date: ClassVar[bool] = True
    max_page: ClassVar[int] = 200

    def create_invoice(self, wanted: NewInvoice) -> CreatedInvoice:
        """Ask for a new invoice. Raises the `Remote...` errors."""
        ...

    def get_invoice(self, provider_invoice_id: str) -> InvoiceSnapshot:
        """Ask for the state of an invoice, about which alone the answer speaks.

        Raises:
            RemoteUnavailable, RemoteNotFound, RemoteRefused, CredentialsRejected: as `keysat.net.client`.
            RemoteAnswerInvalid: the answer's shape is wrong, or it is about another invoice or store.
        """
        ...

    def find_invoices(self, order_id: str) -> list[FoundInvoice]:
        """Ask for the invoices made for an order of ours; an empty list where there are none.

        Raises:
            RemoteUnavailable, RemoteRefused, CredentialsRejected, RemoteAnswerInvalid: as `get_invoice`.
        """
        ...

    def list_invoices(self, since: datetime, until: datetime, skip: int, take: int) -> InvoicePage:
        """Ask for the invoices made in a span of time, newest first, without the first `skip`, at most `take`.

        Both ends are whole seconds and belong to the span. Archived invoices are among them.

        Raises:
            NotSupported: it can only be asked about one at a time.
            RemoteUnavailable, RemoteRefused, CredentialsRejected, RemoteAnswerInvalid: as `get_invoice`.
        """
        raise NotSupported(self.kind, "list its invoices by date, so the scan looks at each by itself")

    def paid_at(self, provider_invoice_id: str) -> datetime | None:
        """Ask when the money of an invoice came in; None where the provider doesn't tell.

        Raises:
            RemoteUnavailable, RemoteRefused, CredentialsRejected, RemoteAnswerInvalid: as `get_invoice`.
        """
        return None

    def check_credentials(self) -> None:
        """Ask for something harmless that needs the credentials. Raises the `Remote...` errors."""
        ...

    def connect_webhook(self, url: str, secret: str) -> None:
        """Register `url` as our webhook, signed with `secret`; an older one of the same URL is replaced.

        Raises:
            NotSupported: it can only be done by hand; the sentence says how.
            PermissionMissing: the credentials may not do it; the sentence names the permission they need.
            RemoteUnavailable, RemoteRefused, CredentialsRejected, RemoteAnswerInvalid: as `get_invoice`.
        """
        raise NotSupported(self.kind, "register a webhook by itself")

    def parse_webhook(self, webhook: Webhook) -> ProviderEvent:
        """Verify that a webhook is from the provider, by its signature or token, and read it.

        Raises:
            WebhookRejected: it is forged or malformed.
        """
        ...

    def pay_lightning_invoice(self, bolt11: str, max_fee_msat: int) -> LightningPayment:
        """Pay a BOLT11 invoice, for at most that fee in millisatoshi; an unclear outcome is `UNKNOWN`.

        Raises:
            NotSupported: this provider has no outgoing payments.
            InvalidInput: the fee limit is too low to be told to the provider; nothing was sent.
        """
        raise NotSupported(self.kind, "pay a Lightning invoice")

    def find_lightning_payment(self, payment_hash: str) -> LightningPayment:
        """Look up what became of a payment, by its hash in hex.

        Raises:
            NotSupported: this provider has no outgoing payments.
        """
        raise NotSupported(self.kind, "look up a Lightning payment")
