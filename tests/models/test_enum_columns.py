"""Columns of an enum's members, and texts that another version of Keysat wrote into them."""

import re
from datetime import timedelta

import pytest
from pydantic import TypeAdapter
from sqlalchemy import CheckConstraint, func, select

from keysat.codes.pricing import Discount, NotApplicable, discounted
from keysat.core.db import DATABASE, Base, reading
from keysat.core.money import Money
from keysat.invoices.schedule import FINAL_CHECK_INTERVAL, interval
from keysat.licenses.state import Reason, judge, load_license_state
from keysat.models import Invoice, License
from keysat.models.invoice_status import InvoiceStatus
from keysat.models.license import LicenseStatus
from keysat.settlement.outcome import SettlementRules
from keysat.settlement.sweep import pages
from keysat.web.admin.codes import CodeRow
from keysat.web.admin.invoices import InvoiceRow
from keysat.web.admin.licenses import LicenseRow
from keysat.web.admin.tips import TipRow
from tests.builders import (
    check_invoice,
    issue_now,
    load_account,
    load_invoice,
    load_licenses,
    make_due,
    make_invoice,
    make_license,
)
from tests.versions import written_by_another_version

ALARM = "the invoice's status frozen is not known to this version"
LISTED = re.compile(r"(?P<column>\w+) IN \((?P<values>.*)\)")


def test_columns_of_listed_values_are_enums():
    """Each column that a constraint limits to listed values has the type of exactly these values."""
    constraints = [
        (table, LISTED.fullmatch(str(constraint.sqltext)))
        for table in Base.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    ]
    listed = [(table.c[found["column"]], found["values"]) for table, found in constraints if found]
    assert len(listed) >= 11
    for column, values in listed:
        assert values == ", ".join(f"'{member}'" for member in column.type.kind), column


@pytest.mark.usefixtures("empty_database", "shop")
def test_known_text_becomes_member():
    invoice = make_invoice()
    assert load_invoice(invoice.id).status is InvoiceStatus.PENDING
    assert load_invoice(invoice.id).review_reason is None


@pytest.mark.usefixtures("empty_database", "shop")
def test_unknown_text_fails_no_query():
    rows = [make_invoice() for _ in range(3)]
    with written_by_another_version("invoices", rows[1].id, "frozen"), reading() as session:
        statuses = session.scalars(select(Invoice.status).order_by(Invoice.id)).all()
    assert statuses == ["pending", "frozen", "pending"]
    assert statuses[1] not in set(InvoiceStatus)


def test_sweep_passes_unknown_status(empty_database, shop):
    """The other invoices of the page are swept, and the row has an alarm once it was checked by itself."""
    paid, odd = make_invoice(), make_invoice()
    for invoice in (paid, odd):
        shop.pay(invoice.provider_invoice_id)
        make_due(invoice.id)
    with written_by_another_version("invoices", odd.id, "frozen"):
        found = list(pages(DATABASE, load_account().id, SettlementRules()))
        assert {claim.row_id for page in found for claim in page.changed} == {paid.id, odd.id}
        assert check_invoice(paid.id).license_due
        assert not check_invoice(odd.id).license_due
        row = load_invoice(odd.id)
        assert (row.status, row.last_error) == ("frozen", ALARM)
        assert row.next_check_at is not None


def test_checks_of_unknown_status_never_end():
    assert interval("frozen", timedelta(days=365)) == FINAL_CHECK_INTERVAL


def test_code_of_unknown_kind_is_refused():
    with pytest.raises(NotApplicable, match=r"^code SPRING is of a kind that this version doesn't know \(half\)\.$"):
        discounted(Money(100, "BTC"), Discount("SPRING", "half", 50))


@pytest.mark.usefixtures("empty_database")
@pytest.mark.parametrize("status", ["frozen", LicenseStatus.SUSPENDED])
def test_license_of_unknown_status_is_suspended(status):
    row = make_license()
    with written_by_another_version("licenses", row.id, status), reading() as session:
        verdict = judge(load_license_state(session, row.id, None), None, None)
    assert verdict.reason is Reason.SUSPENDED


@pytest.mark.usefixtures("empty_database", "shop")
def test_admin_lists_rows_of_another_version():
    """One such row doesn't hide the others."""
    issue_now(make_invoice(status="settled", settled_at=func.now()).id, "signer")
    (row,) = load_licenses()
    with written_by_another_version("licenses", row.id, "frozen"), reading() as session:
        assert LicenseRow.model_validate(session.get_one(License, row.id)).status == "frozen"
    invoice = make_invoice()
    with written_by_another_version("invoices", invoice.id, "frozen"):
        assert load_invoice(invoice.id).status == "frozen"
    annotations = {row: row.model_fields["status"].annotation for row in (LicenseRow, InvoiceRow, TipRow)}
    assert all(TypeAdapter(allowed).validate_python("frozen") == "frozen" for allowed in annotations.values())
    assert TypeAdapter(CodeRow.model_fields["kind"].annotation).validate_python("frozen") == "frozen"
