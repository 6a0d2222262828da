"""The license of a settled invoice is written once, for any number of requests, concurrent or not."""

from uuid import uuid4

import pytest
from sqlalchemy import func, select, text

from keysat.core.db import reading, transaction
from keysat.core.errors import NotFound, NotPaid
from keysat.models import License
from tests.builders import audit_actions, issue_now, load_invoice, load_licenses, make_invoice, set_columns
from tests.races import race_to_issue

ROUNDS = 8

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


def settled_invoice():
    return make_invoice(status="settled", settled_at=func.now())


def test_settled_invoice_gets_its_license(signer):
    invoice = settled_invoice()
    license_id = issue_now(invoice.id, signer.key_id)
    [row] = load_licenses(invoice.id)
    assert (row.id, row.product_id, row.entitlements) == (license_id, invoice.product_id, ["export"])
    after = load_invoice(invoice.id)
    assert after.fulfilled_at is not None
    assert after.next_check_at is None
    assert audit_actions(row.id) == ["license.issued"]


def test_second_issue_changes_nothing(signer):
    invoice = settled_invoice()
    issue_now(invoice.id, signer.key_id)
    before = load_licenses(invoice.id)[0]
    assert issue_now(invoice.id, signer.key_id) is None
    [after] = load_licenses(invoice.id)
    assert signer.key_for(after) == signer.key_for(before)
    assert audit_actions(after.id) == ["license.issued"]


@pytest.mark.parametrize("status", ["pending", "expired", "invalid"])
def test_unpaid_invoice_is_refused(status, signer):
    invoice = make_invoice(status=status)
    with pytest.raises(NotPaid, match=status):
        issue_now(invoice.id, signer.key_id)
    assert load_licenses() == []
    assert load_invoice(invoice.id).fulfilled_at is None


def test_reversed_invoice_is_refused(signer):
    invoice = settled_invoice()
    set_columns(invoice.id, reversed_at=func.now())
    with pytest.raises(NotPaid, match="reversed"):
        issue_now(invoice.id, signer.key_id)
    assert load_licenses() == []


def test_unknown_invoice_is_refused(signer):
    with pytest.raises(NotFound, match="no invoice"):
        issue_now(uuid4(), signer.key_id)


def test_database_itself_refuses_a_second_license(signer):
    invoice = settled_invoice()
    issue_now(invoice.id, signer.key_id)
    with pytest.raises(Exception, match="uq_licenses_invoice_id"), transaction() as session:
        session.execute(
            text(
                "INSERT INTO licenses SELECT gen_random_uuid(), invoice_id, product_id, policy_id, status, source, "
                "is_trial, max_machines, grace_seconds, entitlements, fingerprint_hash, issued_at, expires_at, signer "
                "FROM licenses"
            )
        )


def test_fifty_processes_racing_issue_one_license_each_round(signer):
    """`make bench` runs 200 rounds of the same."""
    issued, surprises = race_to_issue(ROUNDS, signer.key_id)
    assert surprises == []
    assert issued == ROUNDS
    with reading() as session:
        per_invoice = select(func.count()).select_from(License).group_by(License.invoice_id)
        assert session.scalars(per_invoice).all() == [1] * ROUNDS
