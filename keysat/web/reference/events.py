"""The events that endpoints receive, as the `webhooks` of the API's description."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel, Field, create_model

from keysat.queue.outbox import EventType

Sample = Annotated[bool | None, Field(description="True in a sample, which nothing caused. Otherwise left out.")]


class LicenseEvent(BaseModel):
    """A license in the state after the event. `amount` is the price of its invoice."""

    license_id: UUID
    product_id: UUID
    product_slug: str
    invoice_id: UUID | None
    policy_id: UUID
    policy_slug: str
    is_trial: bool
    expires_at: datetime | None
    entitlements: list[str]
    source: str
    status: str
    email: Annotated[str | None, Field(description="The holder's e-mail address, if known.")]
    amount: int | None
    currency: str | None
    sample: Sample = None


class IssuedEvent(LicenseEvent):
    """A new license. Endpoints that ask for it get its key, too."""

    license_key: Annotated[
        str | None,
        Field(description="Left out unless the endpoint asks for it. Null once it was withdrawn or transferred."),
    ] = None


class SubscriptionEvent(BaseModel):
    """A subscription in the state after the event. `amount` is the price of a renewal."""

    subscription_id: UUID
    license_id: UUID
    invoice_id: Annotated[UUID | None, Field(description="The invoice of the renewal. Null for a cancellation.")]
    product_id: UUID
    product_slug: str
    policy_id: UUID
    amount: int
    currency: str
    amount_sats: Annotated[int, Field(description="The amount in sat, 0 in another currency.")]
    period_seconds: int
    expires_at: Annotated[datetime | None, Field(description="The end of the license.")]
    status: Annotated[str, Field(description="The status of the license.")]
    email: Annotated[str | None, Field(description="The holder's e-mail address, if known.")]
    sample: Sample = None


class RenewedEvent(SubscriptionEvent):
    """A license that was renewed. Endpoints that ask for it get its new key, too."""

    license_key: Annotated[
        str | None,
        Field(description="Left out unless the endpoint asks for it. Null once it was withdrawn or transferred."),
    ] = None


class InvoiceEvent(BaseModel):
    """An invoice in the state after the event."""

    invoice_id: UUID
    product_id: UUID
    policy_id: UUID
    status: str
    exception: str
    amount: int
    currency: str
    paid_amount: int | None
    settled_at: datetime | None
    review_reason: str | None
    rest_of_id: UUID | None
    rest_paid: int
    sample: Sample = None


class CodeEvent(BaseModel):
    """A discount code that was used for a license."""

    redemption_id: UUID
    code_id: UUID
    invoice_id: UUID
    discount: Annotated[int, Field(description="In the smallest unit of the invoice's currency.")]
    excess: Annotated[bool, Field(description="The buyer paid after the slot was freed, and none was left.")]
    sample: Sample = None


class MachineEvent(BaseModel):
    """A machine that got or lost a seat."""

    machine_id: UUID
    license_id: UUID
    hostname: str | None
    platform: str | None
    reason: str | None
    sample: Sample = None


class TipEvent(BaseModel):
    """A share of a payment that was sent on."""

    tip_id: UUID
    license_id: UUID
    invoice_id: UUID | None
    label: str
    recipient: str
    amount_msat: int
    sample: Sample = None


class FailedTipEvent(TipEvent):
    """A tip that could not be sent, and why."""

    reason: str | None


class EndpointEvent(BaseModel):
    """An endpoint that gets nothing more until a person resumes it."""

    endpoint_id: UUID
    name: str
    reason: str
    sample: Sample = None


DATA: dict[EventType, type[BaseModel]] = {
    EventType.LICENSE_ISSUED: IssuedEvent,
    EventType.LICENSE_CHANGED: LicenseEvent,
    EventType.LICENSE_REVOKED: LicenseEvent,
    EventType.LICENSE_SUSPENDED: LicenseEvent,
    EventType.LICENSE_UNSUSPENDED: LicenseEvent,
    EventType.LICENSE_EXPIRING_SOON: LicenseEvent,
    EventType.LICENSE_EXPIRED: LicenseEvent,
    EventType.SUBSCRIPTION_RENEWED: RenewedEvent,
    EventType.SUBSCRIPTION_CANCELLED: SubscriptionEvent,
    EventType.INVOICE_SETTLED: InvoiceEvent,
    EventType.INVOICE_EXPIRED: InvoiceEvent,
    EventType.INVOICE_INVALID: InvoiceEvent,
    EventType.INVOICE_REVIEW_NEEDED: InvoiceEvent,
    EventType.CODE_REDEEMED: CodeEvent,
    EventType.MACHINE_ACTIVATED: MachineEvent,
    EventType.MACHINE_DEACTIVATED: MachineEvent,
    EventType.TIP_SENT: TipEvent,
    EventType.TIP_FAILED: FailedTipEvent,
    EventType.ENDPOINT_DISABLED: EndpointEvent,
}


def event_routes() -> APIRouter:
    """Return the routes of the receivers, for the description alone."""
    router = APIRouter()
    for event_type in EventType:
        name = f"on_{event_type.replace('.', '_')}"
        router.add_api_route(
            event_type,
            _receiver(_envelope(event_type)),
            methods=["POST"],
            name=name,
            summary=event_type,
            status_code=204,
            response_class=Response,
            response_description="Any 2xx accepts the delivery. 410 disables the endpoint. Otherwise it is retried.",
        )
    return router


def _envelope(event_type: EventType) -> type[BaseModel]:
    title = "".join(part.title() for part in event_type.replace("_", ".").split("."))
    fields: dict[str, Any] = {
        "event_type": (Literal[event_type], ...),
        "timestamp": (datetime, ...),
        "data": (DATA[event_type], ...),
    }
    return create_model(title, __doc__=f"The body of `{event_type}`.", **fields)


def _receiver(envelope: type[BaseModel]) -> Callable[..., None]:
    def receive(
        body: Any,
        x_keysat_event: Annotated[str, Header(description="The event's name.")],
        x_keysat_delivery: Annotated[UUID, Header(description="The delivery's id, the same in each attempt.")],
        x_keysat_signature: Annotated[
            str, Header(description="`sha256=` and the hex HMAC-SHA256 of the body under the secret's bytes.")
        ],
        webhook_id: Annotated[UUID, Header(description="As `X-Keysat-Delivery`, for Standard Webhooks.")],
        webhook_timestamp: Annotated[int, Header(description="When the attempt was made, in Unix seconds.")],
        webhook_signature: Annotated[str, Header(description="The signatures of Standard Webhooks.")],
    ) -> None:
        """Receive an event. At least once, in no particular order."""

    receive.__annotations__["body"] = envelope
    return receive
