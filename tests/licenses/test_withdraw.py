"""Withdrawing: suspended for a while, or revoked for good. Each change has its line in the audit log."""

from uuid import uuid4

import pytest
from sqlalchemy import func, update

from keysat.core.db import transaction
from keysat.core.errors import Conflict, NotFound
from keysat.licenses.withdraw import change_status, withdraw_of_invoice
from keysat.models import License
from keysat.models.license import LicenseStatus
from tests.builders import audit_actions, issue_now, load_licenses, make_invoice

ACTIVE, SUSPENDED, REVOKED = LicenseStatus.ACTIVE, LicenseStatus.SUSPENDED, LicenseStatus.REVOKED

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


@pytest.fixture
def license_of(signer):
    """Makes a license of a given status."""

    def make(status):
        invoice = make_invoice(status="settled", settled_at=func.now())
        license_id = issue_now(invoice.id, signer.key_id)
        with transaction() as session:
            session.execute(update(License).where(License.id == license_id).values(status=status))
        return load_licenses(invoice.id)[0]

    return make


def change(license_id, target, note="because"):
    with transaction() as session:
        change_status(session, license_id, target, "cli", note)


def status_of(row):
    return load_licenses(row.invoice_id)[0].status


@pytest.mark.parametrize(
    ("before", "after"), [(ACTIVE, SUSPENDED), (ACTIVE, REVOKED), (SUSPENDED, REVOKED), (SUSPENDED, ACTIVE)]
)
def test_allowed_change_is_made_and_audited(license_of, before, after):
    row = license_of(before)
    change(row.id, after)
    assert status_of(row) == after
    assert audit_actions(row.id) == ["license.issued", f"license.{after}"]


@pytest.mark.parametrize(
    ("before", "after"),
    [(ACTIVE, ACTIVE), (SUSPENDED, SUSPENDED), (REVOKED, REVOKED), (REVOKED, ACTIVE), (REVOKED, SUSPENDED)],
)
def test_other_changes_are_refused_and_leave_no_trace(license_of, before, after):
    row = license_of(before)
    with pytest.raises(Conflict, match=f"is {before}, so it can't become {after}"):
        change(row.id, after)
    assert status_of(row) == before
    assert audit_actions(row.id) == ["license.issued"]


def test_unknown_license_is_refused():
    with pytest.raises(NotFound, match="no license"):
        change(uuid4(), REVOKED)


def test_change_spares_other_licenses(license_of):
    row, second = license_of(ACTIVE), license_of(ACTIVE)
    change(row.id, REVOKED)
    assert status_of(second) == ACTIVE


@pytest.mark.parametrize("target", [SUSPENDED, REVOKED])
def test_license_of_an_invoice_is_withdrawn_once(license_of, target):
    row = license_of(ACTIVE)
    with transaction() as session:
        assert withdraw_of_invoice(session, row.invoice_id, target, "reconcile", "refunded") is ACTIVE
    with transaction() as session:
        assert withdraw_of_invoice(session, row.invoice_id, target, "reconcile", "refunded") is None
    assert status_of(row) == target
    assert audit_actions(row.id) == ["license.issued", f"license.{target}"]


def test_revoked_license_is_not_softened_to_suspended(license_of):
    row = license_of(REVOKED)
    with transaction() as session:
        assert withdraw_of_invoice(session, row.invoice_id, SUSPENDED, "reconcile", "refunded") is None
    assert status_of(row) == REVOKED


def test_invoice_without_a_license_has_none_to_withdraw():
    invoice = make_invoice()
    with transaction() as session:
        assert withdraw_of_invoice(session, invoice.id, REVOKED, "reconcile", "refunded") is None


def test_change_is_not_made_before_its_transaction_commits(license_of):
    row = license_of(ACTIVE)
    with transaction() as session:
        change_status(session, row.id, REVOKED, "cli", "oops")
        session.rollback()
    assert status_of(row) == ACTIVE
    assert audit_actions(row.id) == ["license.issued"]
