"""`keysat subscription`: the licenses that are renewed, their next payments, and their ends."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from keysat.cli.output import AsJson, Note, say, show_record, show_rows
from keysat.core.db import DATABASE, reading, transaction
from keysat.core.money import amount_text
from keysat.core.settings import load_settings
from keysat.licenses.signer import installed_signer
from keysat.models import Invoice
from keysat.sales.renew import renew as open_renewal
from keysat.subscriptions.terms import SubscriptionStatus, cancel_subscription, list_subscriptions

app = typer.Typer(help="Subscriptions: licenses that are renewed.", no_args_is_help=True)

LicenseId = Annotated[UUID, typer.Argument(metavar="LICENSE", help="The license's id.")]


@app.command("list")
def list_(
    status: Annotated[SubscriptionStatus | None, typer.Option(help="Only of this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List subscriptions, newest first."""
    with reading() as session:
        rows = list_subscriptions(session, status, limit)
    show_rows(
        [
            {
                "license": str(found.license.id),
                "product": found.product,
                "status": found.status,
                "price": amount_text(found.subscription.amount, found.subscription.currency),
                "days": round(found.subscription.period_seconds / 86_400, 2),
                "until": found.license.expires_at,
                "cancelled": found.subscription.cancelled_at,
            }
            for found in rows
        ],
        as_json,
    )


@app.command()
def renew(license_id: LicenseId, as_json: AsJson = False) -> None:
    """Open the invoice for a license's next period and print where to pay it. A free period is added at once."""
    signer = installed_signer(DATABASE)

    def page_of(invoice_id: UUID) -> str:
        return f"{load_settings().url}/p/{signer.purchase_token(invoice_id)}"

    invoice_id = open_renewal(DATABASE, license_id, "cli", page_of)
    with reading() as session:
        invoice = session.get_one(Invoice, invoice_id)
    show_record(
        {
            "id": str(invoice.id),
            "price": amount_text(invoice.amount, invoice.currency),
            "pay_at": invoice.checkout_url,
            "pay_until": invoice.expires_at,
            "page": page_of(invoice.id),
        },
        as_json,
    )


@app.command()
def cancel(license_id: LicenseId, note: Note) -> None:
    """Cancel a subscription. The license lasts to its end."""
    with transaction() as session:
        changed = cancel_subscription(session, license_id, "cli", note)
    say(f"the subscription of license {license_id} {'is' if changed else 'was already'} cancelled")
