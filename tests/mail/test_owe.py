"""A mail is written in the transaction of what it reports, once, if mail is on and the buyer gave an address."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func

from keysat.core.db import DATABASE, reading, transaction
from keysat.core.money import Money
from keysat.core.secrets import secret_box
from keysat.mail.mail_queue import due_mails
from keysat.mail.owe import SEEN_AFTER, MailedLink, owe_receipt, owe_recovery_link
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import ProviderStatus
from keysat.settlement.by_hand import settle_and_issue
from keysat.settlement.issue import issue
from keysat.settlement.resolve import dismiss
from keysat.settlement.reverse import reverse
from tests.builders import check_invoice, load_invoice, make_invoice
from tests.mail.letters import BUYER, license_sold, load_mail, load_mails, send_due, text_of
from tests.rests import PART, PART_OF_REST, open_rest, say

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


def check_as(fake, invoice, status, paid=0, exception=PaymentException.NONE):
    """Check an invoice of which the provider reports this."""
    fake.say(invoice.provider_invoice_id, status, exception, paid)
    check_invoice(invoice.id)


def test_license_has_a_receipt(mail_on, signer):
    invoice_id, license_id = license_sold(signer)
    mail = load_mail()
    assert (mail.kind, mail.subject_id, mail.invoice_id, mail.recipient) == ("receipt", license_id, invoice_id, BUYER)
    assert (mail.status, mail.language, mail.attempts) == ("pending", "en", 0)
    assert mail.message_id.endswith("@shop.example>")
    assert mail.sealed_message is None
    with reading() as session:
        assert due_mails(session, 10) == [mail.id]


def test_nothing_is_written_while_mail_is_off(signer):
    license_sold(signer)
    assert load_mails() == []


def test_buyer_without_an_address_gets_no_mail(mail_on, signer):
    license_sold(signer, buyer_email=None)
    assert load_mails() == []


def test_second_issue_writes_no_second_mail(mail_on, signer):
    invoice_id, license_id = license_sold(signer)
    with transaction() as session:
        assert issue(session, invoice_id, signer.key_id, "issue") is None
        owe_receipt(session, invoice_id, license_id)
    assert len(load_mails()) == 1


def issue_and_fail(invoice_id, signer):
    with transaction() as session:
        assert issue(session, invoice_id, signer.key_id, "issue")
        raise ZeroDivisionError


def test_undone_license_has_no_mail(mail_on, signer):
    invoice = make_invoice(status="settled", settled_at=func.now())
    with pytest.raises(ZeroDivisionError):
        issue_and_fail(invoice.id, signer)
    assert load_mails() == []


def test_invoice_settled_by_hand_has_a_receipt(mail_on, signer):
    invoice = make_invoice()
    settle_and_issue(DATABASE, invoice.id, "paid in cash", lambda: signer.key_id, "cli")
    assert load_mail().kind == "receipt"


def test_payment_that_waits_for_its_confirmation_is_reported_once(mail_on, fake):
    """Half a minute later, so that a payment confirmed by then needs no such mail."""
    invoice = make_invoice()
    check_as(fake, invoice, ProviderStatus.PENDING)
    assert load_mails() == []
    for _ in range(2):
        check_as(fake, invoice, ProviderStatus.PROCESSING, 21_000)
    mail = load_mail()
    assert (mail.kind, mail.subject_id) == ("seen", invoice.id)
    assert mail.next_attempt_at - mail.created_at == SEEN_AFTER


@pytest.mark.parametrize("status", [ProviderStatus.INVALID, ProviderStatus.REFUNDED, ProviderStatus.EXPIRED])
def test_payment_that_nothing_confirms_is_no_seen_one(mail_on, fake, status):
    """The full amount came in, and the invoice is invalid, was refunded or ended, so that a person decides."""
    invoice = make_invoice()
    check_as(fake, invoice, status, 21_000)
    assert load_invoice(invoice.id).in_review
    assert load_mails() == []


def test_payment_of_an_invoice_that_was_closed_is_no_seen_one(mail_on, fake):
    check_as(fake, make_invoice(status="invalid"), ProviderStatus.PROCESSING, 21_000)
    assert load_mails() == []


def test_confirmed_payment_is_no_seen_one(mail_on, fake):
    check_as(fake, make_invoice(), ProviderStatus.SETTLED, 21_000)
    assert load_mails() == []


@pytest.mark.parametrize("status", [ProviderStatus.EXPIRED, ProviderStatus.SETTLED])
def test_payment_that_is_too_low_is_reported_once(mail_on, fake, status):
    invoice = make_invoice()
    for _ in range(2):
        check_as(fake, invoice, status, 20_000, PaymentException.PARTIAL)
    assert (load_mail().kind, load_mail().subject_id) == ("short", invoice.id)


def test_payment_of_an_unknown_amount_is_not_called_too_low(mail_on, fake):
    """The provider asked for less than the price, so that a person decides."""
    invoice = make_invoice()
    asked = fake.snapshots[invoice.provider_invoice_id]
    fake.snapshots[invoice.provider_invoice_id] = replace(
        asked, charged=Money(20_000, "BTC"), paid=None, status=ProviderStatus.SETTLED, provider_status="settled"
    )
    check_invoice(invoice.id)
    assert load_invoice(invoice.id).review_reason == "amount"
    assert load_mails() == []


@pytest.mark.parametrize("how", ["suspend", "revoke"])
def test_reversal_is_reported_once(mail_on, signer, how):
    invoice_id, _ = license_sold(signer)
    with transaction() as session:
        assert reverse(session, invoice_id, how, "refunded", "cli")
        assert not reverse(session, invoice_id, how, "refunded", "cli")
    assert [mail.kind for mail in load_mails()] == ["receipt", "reversed"]


def test_recovery_link_is_stored_encrypted(mail_on, empty_database):
    link = MailedLink(uuid4(), "/me/secret-of-the-link", timedelta(minutes=30), "de")
    with transaction() as session:
        owe_recovery_link(session, secret_box(mail_on), BUYER, link)
    mail = load_mail()
    assert (mail.kind, mail.subject_id, mail.invoice_id, mail.language) == ("recovery", link.link_id, None, "de")
    assert b"secret" not in mail.sealed_link
    assert mail.useful_until - mail.created_at == timedelta(minutes=30)


def test_recovery_link_needs_mail(settings, empty_database):
    with transaction() as session:
        owe_recovery_link(session, secret_box(settings), BUYER, MailedLink(uuid4(), "/me/x", timedelta(minutes=30)))
    assert load_mails() == []


def test_part_of_a_rest_is_told_with_the_sums_of_the_whole_purchase(mailer, mail_server, fake, signer):
    """10,000 of 21,000 came first, then 5,000 of the rest."""
    first = say(fake, make_invoice(), "expired", "partial", PART)
    rest = open_rest(first.id)
    say(fake, rest, "expired", "partial", PART_OF_REST)
    send_due(mailer)
    short = " ".join(text_of(mail_server.taken[-1]).split())
    assert "15,000 sat arrived" in short
    assert "The price is 21,000 sat, so 6,000 sat are missing" in short
    assert signer.purchase_token(first.id) in text_of(mail_server.taken[-1])
    assert str(rest.id) not in text_of(mail_server.taken[-1])


def test_nobody_is_asked_for_the_rest_of_a_dismissed_purchase(mailer, mail_server, fake):
    first = say(fake, make_invoice(), "expired", "partial", PART)
    send_due(mailer)
    say(fake, open_rest(first.id), "expired", "partial", PART_OF_REST)
    with transaction() as session:
        dismiss(session, first.id, "sent back", "cli")
    send_due(mailer)
    assert [mail.status for mail in load_mails()] == ["sent", "dropped"]
