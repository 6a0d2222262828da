"""`keysat invoice`: invoices and manual decisions about them."""

from __future__ import annotations

import time
from typing import Annotated
from uuid import UUID

import typer

from keysat.cli.audit import moment_rows
from keysat.cli.hints import explained
from keysat.cli.license_ import license_record
from keysat.cli.output import AsJson, Note, Row, say, show_line, show_record, show_rows
from keysat.core.db import DATABASE, reading, snapshot, transaction
from keysat.core.hints import Advice
from keysat.core.money import amount_text
from keysat.core.settings import load_settings
from keysat.licenses.signer import installed_signer
from keysat.models import Invoice
from keysat.models.holders import license_of_invoice
from keysat.models.invoice_status import InvoiceStatus
from keysat.operations.details import read_details
from keysat.operations.search import Search, find_invoices, require_invoice
from keysat.operations.why import Why, read_why
from keysat.operations.why_sentence import sentence
from keysat.sales.order import Order
from keysat.sales.purchase import purchase
from keysat.settlement import resolve
from keysat.settlement.by_hand import reconcile_and_issue, restore_and_issue, settle_and_issue
from keysat.settlement.outcome import rules_of
from keysat.settlement.resolve import dismiss as dismiss_review

app = typer.Typer(help="Invoices.", no_args_is_help=True)

WhichInvoice = Annotated[str, typer.Argument(metavar="INVOICE", help="Its id, or the provider's id of it.")]


@app.command("open")
def open_(
    product: Annotated[str, typer.Argument(help="The product's slug.")],
    policy: Annotated[str | None, typer.Option(help="The policy's slug; default: the product's first.")] = None,
    account: Annotated[str | None, typer.Option(help="The provider account; default: the first that works.")] = None,
    code: Annotated[str | None, typer.Option(help="A discount code.")] = None,
    email: Annotated[str | None, typer.Option(help="The buyer's e-mail address.")] = None,
    note: Annotated[str | None, typer.Option(help="A note about the buyer.")] = None,
    as_json: AsJson = False,
) -> None:
    """Open an invoice at the provider and print where to pay it. If it is free, the license is issued at once."""
    order = Order(product, policy, code, buyer_email=email, buyer_note=note, account=account)
    invoice_id = purchase(DATABASE, order, _signer_id, "cli")
    with reading() as session:
        invoice = session.get_one(Invoice, invoice_id)
    show_record(
        {
            "id": str(invoice.id),
            "price": amount_text(invoice.amount, invoice.currency),
            "pay_at": invoice.checkout_url,
            "pay_until": invoice.expires_at,
            "provider_invoice_id": invoice.provider_invoice_id,
        },
        as_json,
    )
    if invoice.amount == 0:
        say("nothing is to be paid; the license was issued")


@app.command("list")
def list_(
    status: Annotated[InvoiceStatus | None, typer.Option(help="Only of this status.")] = None,
    review: Annotated[bool, typer.Option("--review", help="Only those that wait for your decision.")] = False,
    failing: Annotated[bool, typer.Option("--failing", help="Only those without a usable response lately.")] = False,
    unfulfilled: Annotated[bool, typer.Option("--unfulfilled", help="Only settled ones without a license.")] = False,
    no_longer_watched: Annotated[bool, typer.Option("--abandoned", help="Only unpaid ones of over 30 days.")] = False,
    email: Annotated[str | None, typer.Option(help="Only of this buyer.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List invoices, newest first."""
    wanted = Search(
        email=email,
        status=status,
        review=review,
        failing=failing,
        unfulfilled=unfulfilled,
        abandoned=no_longer_watched,
    )
    with reading() as session:
        rows = find_invoices(session, wanted, limit)
    show_rows([_summary(invoice, account) for invoice, account in rows], as_json)


def _summary(invoice: Invoice, account: str | None) -> Row:
    return {
        "id": str(invoice.id),
        "created": invoice.created_at,
        "status": invoice.status,
        "exception": invoice.exception,
        "price": amount_text(invoice.amount, invoice.currency),
        "paid": None if invoice.paid_amount is None else amount_text(invoice.paid_amount, invoice.currency),
        "review": invoice.review_reason if invoice.in_review else None,
        "account": account,
        "buyer": invoice.buyer_email,
        "last_error": invoice.last_error,
    }


@app.command()
def show(which: WhichInvoice, as_json: AsJson = False) -> None:
    """Show all details of an invoice, including why its buyer has no license."""
    with snapshot() as session:
        found = read_details(session, require_invoice(session, which))
    invoice, code = found.invoice, found.code
    record: dict[str, object] = {
        "why": why_line(found.why),
        "state": found.why.state,
        **_summary(invoice, found.account),
        **({"code": f"{code.code} ({code.status})", "discount": str(code.discount)} if code else {}),
        "product": found.product,
        "policy": found.policy,
        **({"rest_of": str(invoice.rest_of_id)} if invoice.rest_of_id else {}),
        **({"renews": str(invoice.target_license_id)} if invoice.target_license_id else {}),
        **({} if invoice.credited is None else {"credited": amount_text(invoice.credited, invoice.currency)}),
        **({"rest_paid": amount_text(invoice.rest_paid, invoice.currency)} if invoice.rest_paid else {}),
        "provider_invoice_id": invoice.provider_invoice_id,
        "pay_at": invoice.checkout_url,
        "pay_until": invoice.expires_at,
        "note": invoice.buyer_note,
        "settled": invoice.settled_at,
        "fulfilled": invoice.fulfilled_at,
        "reversed": invoice.reversed_at,
        "checks": invoice.check_count,
        "last_look": invoice.last_checked_at,
        "next_look": invoice.next_check_at,
    }
    lines = moment_rows(found.timeline)
    if found.license is not None:
        record["license"] = license_record(found.license)
    if as_json:
        show_record({**record, "timeline": lines}, as_json)
        return
    licensed = record.pop("license", {})
    show_record(record, as_json)
    if isinstance(licensed, dict) and licensed:
        show_record({f"license_{name.removeprefix('license_')}": value for name, value in licensed.items()}, as_json)
    print()
    show_rows(lines, as_json)


@app.command("reconcile")
def reconcile_(which: WhichInvoice) -> None:
    """Check the provider now, act on its response, and issue the license if paid. Needs no worker."""
    invoice_id, rules = _id_of(which), rules_of(load_settings())
    result, _ = reconcile_and_issue(DATABASE, invoice_id, rules, _signer_id, "cli")
    say(f"the provider reports {result.provider_status}; decision: {result.outcome.action}")
    if result.outcome.review is not None:
        say(f"it waits for your decision ({result.outcome.review}): `keysat invoice settle` or `dismiss`")
    if result.license_due:
        _show_key(invoice_id)


@app.command()
def settle(which: WhichInvoice, note: Note) -> None:
    """Settle an invoice by hand, regardless of the provider's status, and issue its license."""
    invoice_id = _id_of(which)
    settle_and_issue(DATABASE, invoice_id, note, _signer_id, "cli")
    _show_key(invoice_id)


@app.command()
def dismiss(which: WhichInvoice, note: Note) -> None:
    """Close an invoice's review without a license, for example after a refund by hand."""
    with transaction() as session:
        dismiss_review(session, require_invoice(session, which).id, note, "cli")
    say("the review is closed; the invoice is as it was otherwise")


@app.command()
def acknowledge(which: WhichInvoice, note: Note) -> None:
    """Acknowledge that an invoice gets no usable response. Checks continue without an alarm."""
    with transaction() as session:
        resolve.acknowledge(session, require_invoice(session, which).id, note, "cli")
    say("the alarm has ended; later responses still take effect")


@app.command()
def restore(which: WhichInvoice, note: Note) -> None:
    """Undo a reversal by hand: the license regains its status, or is issued if it wasn't before."""
    invoice_id = _id_of(which)
    restore_and_issue(DATABASE, invoice_id, note, _signer_id, "cli")
    _show_key(invoice_id)


@app.command()
def watch(
    which: WhichInvoice, every: Annotated[float, typer.Option(min=0.1, help="Seconds between two checks.")] = 1.0
) -> None:
    """Follow an invoice in the database, one line per change, until its license is issued. Ctrl-C ends it."""
    shown = ""
    while True:
        with reading() as session:
            invoice = require_invoice(session, which)
            why = read_why(session, invoice)
        line = f"{invoice.status}: {why_line(why)}"
        if line != shown:
            show_line(line)
            shown = line
        if why.license_id is not None:
            return
        time.sleep(every)


def why_line(why: Why) -> str:
    """Return why a buyer has no license yet, in one sentence with the exact next command."""
    return explained(Advice(sentence(why), why.hint, {"invoice_id": why.invoice_id, "account": why.account}))


def _id_of(which: str) -> UUID:
    with reading() as session:
        return require_invoice(session, which).id


def _signer_id() -> str:
    return installed_signer(DATABASE).key_id


def _show_key(invoice_id: UUID) -> None:
    with reading() as session:
        row = license_of_invoice(session, session.get_one(Invoice, invoice_id))
    assert row is not None
    say("the license:")
    print(installed_signer(DATABASE).key_for(row))
