"""Reversing: a refund withdraws the license, or prevents its issue, also under concurrency."""

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from keysat.core.db import reading, transaction
from keysat.core.errors import Conflict, InvalidInput, NotFound, NotPaid
from keysat.invoices.due import claim_settled
from keysat.licenses.withdraw import change_status
from keysat.models import Invoice, License
from keysat.models.license import LicenseStatus
from keysat.providers.base import ProviderStatus
from keysat.settlement.outcome import Action, SettlementRules
from keysat.settlement.resolve import dismiss, settle_by_hand
from keysat.settlement.reverse import reverse, undo
from tests.builders import (
    PRICE,
    audit_actions,
    check_invoice,
    issue_now,
    load_account,
    load_invoice,
    load_licenses,
    make_due,
    make_invoice,
    set_columns,
)

ROUNDS = 50

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


def settled_invoice():
    return make_invoice(status="settled", settled_at=func.now())


@pytest.fixture
def licensed_invoice(signer):
    invoice = settled_invoice()
    issue_now(invoice.id, signer.key_id)
    return invoice


def reverse_now(invoice_id, how="suspend"):
    with transaction() as session:
        return reverse(session, invoice_id, how, "the provider says refunded", "reconcile")


@pytest.mark.parametrize("answer", ["refunded", "invalid"])
@pytest.mark.parametrize(("how", "status"), [("suspend", "suspended"), ("revoke", "revoked")])
def test_refund_follows_operators_choice(fake, licensed_invoice, answer, how, status):
    fake.say(licensed_invoice.provider_invoice_id, ProviderStatus(answer))
    result = check_invoice(licensed_invoice.id, SettlementRules(reversal=how))
    assert result.outcome.action is Action.REVERSE
    assert not result.license_due
    [row] = load_licenses(licensed_invoice.id)
    assert row.status == status
    invoice = load_invoice(licensed_invoice.id)
    assert (invoice.status, invoice.next_check_at) == ("settled", None)
    assert invoice.reversed_at is not None
    assert audit_actions(licensed_invoice.id)[-1] == "invoice.reversed"
    assert audit_actions(row.id) == ["license.issued", f"license.{status}"]


def test_review_leaves_the_license_to_a_person(fake, licensed_invoice):
    fake.say(licensed_invoice.provider_invoice_id, ProviderStatus.REFUNDED)
    check_invoice(licensed_invoice.id, SettlementRules(reversal="review"))
    assert load_licenses(licensed_invoice.id)[0].status == "active"
    invoice = load_invoice(licensed_invoice.id)
    assert (invoice.review_reason, invoice.review_resolved_at, invoice.reversed_at) == ("refunded", None, None)
    assert audit_actions(licensed_invoice.id)[-1] == "invoice.review_needed"


def test_reversal_happens_once(licensed_invoice):
    assert reverse_now(licensed_invoice.id)
    lines = audit_actions(licensed_invoice.id)
    assert not reverse_now(licensed_invoice.id)
    assert audit_actions(licensed_invoice.id) == lines


def test_license_lifted_by_a_person_after_a_reversal_stays_lifted(fake, licensed_invoice):
    fake.say(licensed_invoice.provider_invoice_id, ProviderStatus.REFUNDED)
    check_invoice(licensed_invoice.id)
    [row] = load_licenses(licensed_invoice.id)
    with transaction() as session:
        change_status(session, row.id, LicenseStatus.ACTIVE, "cli", "paid again in cash")
    check_invoice(licensed_invoice.id)
    assert load_licenses(licensed_invoice.id)[0].status == "active"


@pytest.mark.parametrize("status", ["pending", "expired", "invalid"])
def test_unpaid_invoice_has_nothing_to_reverse(status):
    invoice = make_invoice(status=status)
    assert not reverse_now(invoice.id)
    assert load_invoice(invoice.id).reversed_at is None


def test_license_that_was_not_issued_yet_never_is(fake, signer):
    invoice = settled_invoice()
    make_due(invoice.id)
    fake.say(invoice.provider_invoice_id, ProviderStatus.REFUNDED)
    assert not check_invoice(invoice.id).license_due
    assert load_invoice(invoice.id).next_check_at is None
    with pytest.raises(NotPaid, match="reversed"):
        issue_now(invoice.id, signer.key_id)
    assert load_licenses() == []


def test_review_holds_back_a_license_that_was_not_issued_yet(fake):
    invoice = settled_invoice()
    fake.say(invoice.provider_invoice_id, ProviderStatus.REFUNDED)
    result = check_invoice(invoice.id, SettlementRules(reversal="review"))
    assert result.outcome.action is Action.REVIEW
    assert not result.license_due


def test_issue_racing_reversal_never_leaves_an_active_license(signer):
    invoice_ids = [settled_invoice().id for _ in range(ROUNDS)]
    together = threading.Barrier(2)
    surprises = []

    def race(act):
        for invoice_id in invoice_ids:
            together.wait(30)
            try:
                act(invoice_id)
            except NotPaid:
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, the test must know
                surprises.append(repr(error))

    threads = [
        threading.Thread(target=race, args=(act,))
        for act in (reverse_now, lambda invoice_id: issue_now(invoice_id, signer.key_id))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert surprises == []
    with reading() as session:
        left = session.execute(
            select(Invoice.reversed_at.is_not(None), License.status)
            .outerjoin(License, License.invoice_id == Invoice.id)
            .distinct()
        ).all()
    assert {reversed_ for reversed_, _ in left} == {True}
    assert {status for _, status in left} <= {None, "suspended"}


def undo_now(invoice_id, note="it was a mistake"):
    with transaction() as session:
        undo(session, invoice_id, note, "cli")


@pytest.mark.parametrize("how", ["suspend", "revoke"])
@pytest.mark.parametrize("was", [LicenseStatus.ACTIVE, LicenseStatus.SUSPENDED])
def test_reversal_is_undone_and_the_license_is_what_it_was(fake, licensed_invoice, how, was):
    [row] = load_licenses(licensed_invoice.id)
    if was is LicenseStatus.SUSPENDED:
        with transaction() as session:
            change_status(session, row.id, was, "cli", "asked for")
    reverse_now(licensed_invoice.id, how)
    undo_now(licensed_invoice.id)
    assert load_licenses(licensed_invoice.id)[0].status == was
    assert load_invoice(licensed_invoice.id).reversed_at is None
    fake.say(licensed_invoice.provider_invoice_id, ProviderStatus.REFUNDED)
    check_invoice(licensed_invoice.id)
    assert load_licenses(licensed_invoice.id)[0].status == was


def test_restore_keeps_earlier_revocation(licensed_invoice):
    [row] = load_licenses(licensed_invoice.id)
    with transaction() as session:
        change_status(session, row.id, LicenseStatus.REVOKED, "cli", "shared")
    reverse_now(licensed_invoice.id)
    undo_now(licensed_invoice.id)
    assert load_licenses(licensed_invoice.id)[0].status == "revoked"


def test_undoing_before_a_license_was_issued_owes_it(signer):
    invoice = settled_invoice()
    reverse_now(invoice.id)
    undo_now(invoice.id)
    issue_now(invoice.id, signer.key_id)
    assert [row.status for row in load_licenses(invoice.id)] == ["active"]


def test_what_was_not_reversed_can_not_be_undone(licensed_invoice):
    with pytest.raises(Conflict, match="was not reversed"):
        undo_now(licensed_invoice.id)
    reverse_now(licensed_invoice.id)
    with pytest.raises(InvalidInput, match="say why"):
        undo_now(licensed_invoice.id, " ")
    with pytest.raises(NotFound):
        undo_now(uuid4())


@pytest.fixture
def provider_sale(fake, signer):
    """A settled invoice of the fake provider, licensed."""
    invoice = make_invoice()
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    check_invoice(invoice.id)
    issue_now(invoice.id, signer.key_id)
    return invoice


def check_for_reversal():
    """The scan's slow check of settled invoices. Returns the claimed ids."""
    with transaction() as session:
        return [claim.row_id for claim in claim_settled(session, 10, load_account().id)]


def test_lost_webhook_of_a_reversal_is_noticed_within_a_day(fake, provider_sale):
    assert check_for_reversal() == []
    set_columns(provider_sale.id, reversal_check_at=func.now())
    fake.say(provider_sale.provider_invoice_id, ProviderStatus.INVALID)
    assert check_for_reversal() == [provider_sale.id]
    check_invoice(provider_sale.id)
    assert load_licenses(provider_sale.id)[0].status == "suspended"
    assert (
        timedelta(hours=21)
        < load_invoice(provider_sale.id).reversal_check_at - load_invoice(provider_sale.id).reversed_at
    )


def test_sale_of_long_ago_is_checked_once_more_and_then_no_more(provider_sale):
    long_ago = func.now() - timedelta(days=61)
    set_columns(provider_sale.id, settled_at=long_ago, reversal_check_at=func.now(), last_checked_at=long_ago)
    assert check_for_reversal() == [provider_sale.id]
    assert load_invoice(provider_sale.id).reversal_check_at is not None
    set_columns(provider_sale.id, reversal_check_at=func.now(), last_checked_at=func.now() - timedelta(hours=23))
    assert check_for_reversal() == [provider_sale.id]
    assert load_invoice(provider_sale.id).reversal_check_at is None


def test_settled_again_after_a_reversal_waits_for_a_person(fake, provider_sale):
    fake.say(provider_sale.provider_invoice_id, ProviderStatus.INVALID)
    check_invoice(provider_sale.id)
    fake.say(provider_sale.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    check_invoice(provider_sale.id)
    again = load_invoice(provider_sale.id)
    assert (again.in_review, again.review_reason) == (True, "settled_again")
    with transaction() as session:
        undo(session, provider_sale.id, "a mis-click", "cli")
    assert not load_invoice(provider_sale.id).in_review
    assert load_licenses(provider_sale.id)[0].status == "active"


def test_reversed_then_settled_again(fake, signer):
    """An invoice that is reversed before its license and settles again is reviewed, and can be settled."""
    invoice = make_invoice()
    for status in (ProviderStatus.SETTLED, ProviderStatus.INVALID, ProviderStatus.SETTLED):
        fake.say(invoice.provider_invoice_id, status, paid=PRICE)
        check_invoice(invoice.id)
    assert load_invoice(invoice.id).review_reason == "settled_again"
    with transaction() as session:
        settle_by_hand(session, invoice.id, "it is paid after all", "cli")
    assert issue_now(invoice.id, signer.key_id) is not None


def test_restore_never_undoes_a_revocation_by_a_person(fake, provider_sale):
    fake.say(provider_sale.provider_invoice_id, ProviderStatus.INVALID)
    check_invoice(provider_sale.id)
    [license_] = load_licenses(provider_sale.id)
    with transaction() as session:
        change_status(session, license_.id, LicenseStatus.REVOKED, "cli", "fraud")
    with transaction() as session:
        undo(session, provider_sale.id, "the money is there", "cli")
    assert load_licenses(provider_sale.id)[0].status == "revoked"


def test_restore_undoes_a_revocation_by_the_reversal(fake, provider_sale):
    fake.say(provider_sale.provider_invoice_id, ProviderStatus.INVALID)
    check_invoice(provider_sale.id, SettlementRules(reversal="revoke"))
    with transaction() as session:
        undo(session, provider_sale.id, "the money is there", "cli")
    assert load_licenses(provider_sale.id)[0].status == "active"


def test_dismissed_reversal_review_is_not_raised_again_by_the_same_money(fake):
    invoice = make_invoice()
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    check_invoice(invoice.id)
    fake.say(invoice.provider_invoice_id, ProviderStatus.INVALID)
    check_invoice(invoice.id, SettlementRules(reversal="review"))
    with transaction() as session:
        dismiss(session, invoice.id, "refunded by hand", "cli")
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    check_invoice(invoice.id)
    assert not load_invoice(invoice.id).in_review
