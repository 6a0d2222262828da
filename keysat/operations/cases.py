"""The rows that break an invariant, each with its time: one statement for each invariant."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Select, and_, func, literal, or_, select

from keysat.models import (
    DiscountCode,
    Invoice,
    License,
    LicenseExtension,
    ProviderAccount,
    ProviderEvent,
    Redemption,
    TaskRun,
    Tip,
    WebhookDelivery,
    WebhookEndpoint,
)
from keysat.models.discount_code import HELD
from keysat.models.invoice_status import InvoiceStatus
from keysat.models.license import LicenseStatus
from keysat.models.provider_account import FAILURES_TO_OPEN
from keysat.models.tip import TipStatus

SOON = timedelta(minutes=2)
STUCK = timedelta(minutes=5)
Cases = Select[Any, Any]


def _callable(account_id: Any) -> Any:
    return account_id.not_in(select(ProviderAccount.id).where(ProviderAccount.resting(func.now())))


def unlicensed_invoices(_: timedelta) -> Cases:
    """Paid invoices without a license."""
    return select(Invoice.id, Invoice.settled_at).where(Invoice.settled_at < func.now() - SOON, Invoice.license_due)


def unpaid_licenses(_: timedelta) -> Cases:
    """Licenses whose invoice isn't settled."""
    return (
        select(License.id, License.issued_at)
        .join(Invoice, Invoice.id == License.invoice_id)
        .where(Invoice.status != InvoiceStatus.SETTLED)
    )


def unpaid_extensions(_: timedelta) -> Cases:
    """Licenses that were extended by a renewal that isn't paid, or was paid back."""
    return (
        select(LicenseExtension.license_id, LicenseExtension.extended_at)
        .join(Invoice, Invoice.id == LicenseExtension.invoice_id)
        .where(~LicenseExtension.taken_back, or_(Invoice.status != InvoiceStatus.SETTLED, Invoice.reversed))
    )


def overdue_notices(_: timedelta) -> Cases:
    """Licenses whose end nobody looked at in time."""
    active = and_(License.expires_at.is_not(None), License.status == LicenseStatus.ACTIVE)
    return select(License.id, License.next_notice_at).where(active, License.next_notice_at < func.now() - 2 * STUCK)


def miscounted_codes(_: timedelta) -> Cases:
    """Codes that count other slots than they gave out."""
    held = (
        select(func.count())
        .where(
            Redemption.code_id == DiscountCode.id,
            Redemption.status.in_(HELD),
        )
        .scalar_subquery()
    )
    return select(DiscountCode.code, DiscountCode.created_at).where(DiscountCode.uses != held)


def unclaimed_invoices(_: timedelta) -> Cases:
    """Invoices whose check is late."""
    unsettled = Invoice.status != InvoiceStatus.SETTLED
    return select(Invoice.id, Invoice.next_check_at).where(
        Invoice.next_check_at < func.now() - SOON, unsettled, _callable(Invoice.provider_account_id)
    )


def unhandled_events(_: timedelta) -> Cases:
    """Providers' webhooks that wait for too long."""
    return select(ProviderEvent.id, ProviderEvent.next_attempt_at).where(
        ProviderEvent.next_attempt_at < func.now() - STUCK, _callable(ProviderEvent.provider_account_id)
    )


def undelivered_webhooks(_: timedelta) -> Cases:
    """Outbound webhooks that wait for too long."""
    return (
        select(WebhookDelivery.id, WebhookDelivery.next_attempt_at)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(WebhookDelivery.next_attempt_at < func.now() - STUCK, WebhookEndpoint.active)
    )


def waiting_tips(_: timedelta) -> Cases:
    """Tips that wait for too long."""
    return select(Tip.id, Tip.next_attempt_at).where(
        Tip.next_attempt_at < func.now() - STUCK, _callable(Tip.provider_account_id)
    )


def unknown_tips(_: timedelta) -> Cases:
    """Tips whose payment has had no outcome for too long."""
    over = Tip.payable_until < func.now() - timedelta(hours=1)
    return select(Tip.id, Tip.paying_since).where(Tip.status == TipStatus.PAYING, over)


def missing_scans(scan: timedelta) -> Cases:
    """Scans that did not run."""
    ran = select(TaskRun.last_run_at).where(TaskRun.name == "scan_pending").scalar_subquery()
    since = func.coalesce(ran, select(func.min(Invoice.created_at)).scalar_subquery())
    # A run in the future was recorded by a wrong clock, so it doesn't prove that scans run.
    overdue = or_(since < func.now() - max(SOON, 4 * scan), since > func.now() + SOON)
    return select(literal("scan_pending").label("id"), since.label("at")).where(overdue)


def resting_accounts(_: timedelta) -> Cases:
    """Accounts that aren't called."""
    since = func.coalesce(ProviderAccount.paused_at, func.now())
    return select(ProviderAccount.name, since).where(ProviderAccount.resting(func.now()))


def failing_creates(_: timedelta) -> Cases:
    """Accounts that make no invoices."""
    failing = or_(
        ProviderAccount.create_breaker_open(func.now()), ProviderAccount.create_failure_count >= FAILURES_TO_OPEN
    )
    return select(ProviderAccount.name, func.now()).where(failing)
