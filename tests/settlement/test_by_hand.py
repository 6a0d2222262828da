"""A person's decision and the license that follows from it: one sequence, in two commits."""

import pytest
from sqlalchemy import func

from keysat.core.db import DATABASE
from keysat.core.errors import Conflict, NotFound, SettingsError
from keysat.models.invoice_status import InvoiceStatus
from keysat.providers.base import ProviderStatus
from keysat.settlement.by_hand import reconcile_and_issue, restore_and_issue, settle_and_issue
from keysat.settlement.outcome import SettlementRules
from tests.builders import PRICE, check_invoice, load_invoice, load_licenses, make_invoice, set_account

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def signer_id(signer):
    return lambda: signer.key_id


def key_is_gone():
    raise SettingsError("the signing key is missing")


def check(invoice, signer_id):
    return reconcile_and_issue(DATABASE, invoice.id, SettlementRules(), signer_id, "cli")


def test_settled_by_hand_has_its_license(fake, signer_id):
    invoice = make_invoice()
    license_id = settle_and_issue(DATABASE, invoice.id, "paid in cash", signer_id, "cli")
    assert [row.id for row in load_licenses(invoice.id)] == [license_id]
    with pytest.raises(Conflict, match="settled already"):
        settle_and_issue(DATABASE, invoice.id, "again", signer_id, "cli")


def test_decision_stays_when_the_signing_key_is_missing(fake, signer_id):
    """The scan issues the license once the key is back."""
    invoice = make_invoice()
    with pytest.raises(SettingsError):
        settle_and_issue(DATABASE, invoice.id, "paid in cash", key_is_gone, "cli")
    row = load_invoice(invoice.id)
    assert (row.status, row.fulfilled_at) == (InvoiceStatus.SETTLED, None)
    assert row.next_check_at is not None


def test_refused_decision_issues_nothing(fake, signer_id):
    invoice = make_invoice()
    with pytest.raises(NotFound):
        settle_and_issue(DATABASE, invoice.provider_account_id, "paid", signer_id, "cli")
    with pytest.raises(Conflict, match="not reversed"):
        restore_and_issue(DATABASE, invoice.id, "a mistake", signer_id, "cli")
    assert load_licenses() == []


def test_check_issues_the_license_of_a_paid_invoice_only(fake, signer_id):
    invoice = make_invoice()
    result, license_id = check(invoice, signer_id)
    assert (result.license_due, license_id) == (False, None)
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    result, license_id = check(invoice, signer_id)
    assert (result.license_due, [row.id for row in load_licenses(invoice.id)]) == (True, [license_id])


def test_check_by_a_person_passes_an_open_circuit_breaker(fake, signer_id):
    invoice = make_invoice()
    set_account(failure_count=5, open_until=func.now() + func.make_interval(0, 0, 0, 0, 0, 1))
    assert check(invoice, signer_id)[0].provider_status == "pending/none"


def test_restored_invoice_has_its_license_once(fake, signer_id):
    invoice = make_invoice(status="settled", settled_at=func.now())
    fake.say(invoice.provider_invoice_id, ProviderStatus.REFUNDED)
    check_invoice(invoice.id)
    license_id = restore_and_issue(DATABASE, invoice.id, "a mistake", signer_id, "cli")
    assert [row.id for row in load_licenses(invoice.id)] == [license_id]
