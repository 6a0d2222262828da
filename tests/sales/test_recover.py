"""A recovery link works once, in time, and its mailbox gets no flood, however many ask for it."""

import hashlib
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import event, func, select, update

from keysat.core.db import reading, transaction
from keysat.core.errors import NotFound
from keysat.core.secrets import secret_box
from keysat.mail.owe import MailedLink, owe_recovery_link
from keysat.models import AuditLine, RecoveryLink
from keysat.sales.recover import LINK_LIFE, MAX_LINKS, make_link, recover, recover_paid, redeem_link, request_link
from tests.builders import issue_now, load_licenses, make_invoice, make_license, prove_payment
from tests.races import race

pytestmark = pytest.mark.usefixtures("empty_database")
EMAIL = "Holder@example.com"


@pytest.fixture
def row():
    return make_license(holder_email=EMAIL)


def make(email=EMAIL):
    with transaction() as session:
        link = make_link(session, email, "cli")
    return link and link.secret


def ask(settings, email=EMAIL):
    """Request a link as the page does. Returns its secret, or None."""
    with transaction() as session:
        link = request_link(session, email)
        if link is not None:
            path = f"/recover/{link.secret}"
            owe_recovery_link(session, secret_box(settings), link.email, MailedLink(link.id, path, LINK_LIFE))
    return link and link.secret


def redeem(secret):
    with transaction() as session:
        return [row.id for row in redeem_link(session, secret, "api").licenses]


def let_pass(time):
    with transaction() as session:
        old = {"created_at": RecoveryLink.created_at - time, "expires_at": RecoveryLink.expires_at - time}
        session.execute(update(RecoveryLink).values(old))


@pytest.mark.parametrize("typed", ["Ümit@BÜCHER.example", "ÜMIT@bÜcher.EXAMPLE"])
def test_holder_with_letters_beyond_ascii_is_found_by_the_address_as_it_was_typed(settings, typed):
    """Not every database knows their lower case."""
    held = make_license(holder_email="Ümit@BÜCHER.example")
    assert redeem(make(typed)) == redeem(ask(settings, typed)) == [held.id]


def test_link_shows_the_licenses_once(row):
    secret = make("holder@EXAMPLE.com")
    assert redeem(secret) == [row.id]
    with pytest.raises(NotFound):
        redeem(secret)


def test_secret_is_stored_as_a_hash(row):
    secret = make()
    with reading() as session:
        link = session.scalars(select(RecoveryLink)).one()
    assert secret.encode() not in link.secret_hash


def test_link_expires(row):
    secret = make()
    let_pass(LINK_LIFE + timedelta(seconds=1))
    with pytest.raises(NotFound):
        redeem(secret)


def test_another_link_is_mailed_once_the_last_one_is_over(row, mail_on):
    """Who asks in a buyer's name keeps no working link from the buyer."""
    for _ in range(4):
        assert ask(mail_on) is not None
        assert ask(mail_on) is None
        let_pass(LINK_LIFE + timedelta(seconds=1))


def test_another_link_is_mailed_once_the_last_one_is_used_up_to_the_limit(row, mail_on):
    for _ in range(MAX_LINKS):
        assert redeem(ask(mail_on)) == [row.id]
    assert ask(mail_on) is None
    let_pass(timedelta(hours=1, seconds=1))
    assert ask(mail_on) is not None


def test_operator_makes_a_link_at_any_time(row, mail_on):
    assert ask(mail_on) is not None
    made = {make() for _ in range(MAX_LINKS + 1)}
    assert None not in made
    assert all(redeem(secret) == [row.id] for secret in made)


def test_link_of_the_operator_keeps_no_mail_from_the_buyer(row, mail_on):
    for _ in range(MAX_LINKS):
        make()
    assert ask(mail_on) is not None


def test_address_without_a_license_gets_no_link(row):
    assert make("other@example.com") is None
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(RecoveryLink)) == 0


def test_anybody_may_request_a_link_and_learns_nothing(row, mail_on):
    """Both addresses get a row, and both only one while it works."""
    made = [ask(mail_on, email) for email in (EMAIL, "other@example.com", EMAIL, "other@example.com")]
    assert [secret is None for secret in made] == [False, False, True, True]
    with reading() as session:
        assert set(session.scalars(select(RecoveryLink.email))) == {"holder@example.com", "other@example.com"}
    assert redeem(made[1]) == []


def test_racing_requests_make_one_link_and_racing_uses_one_success(row, mail_on):
    made, surprises = race(1, lambda *_: ask(mail_on), count=8)
    assert (sum(secret is not None for secret in made), surprises) == (1, [])
    [secret] = filter(None, made)
    won, lost = race(1, lambda *_: redeem(secret), count=8)
    assert won == [[row.id]]
    assert [failure.partition("(")[0] for failure in lost] == ["NotFound"] * 7


def test_failed_proof_takes_one_statement_whatever_is_wrong(fake, signer):
    """A wrong preimage, a sale without a hash, an invoice without a license, and none at all."""
    sold = [make_invoice(status="settled", settled_at=func.now()) for _ in range(2)]
    for invoice in sold:
        issue_now(invoice.id, signer.key_id)
    unpaid = make_invoice()
    for invoice in (sold[0], unpaid):
        prove_payment(invoice.id)
    assert {statements_of(invoice_id) for invoice_id in (sold[0].id, sold[1].id, unpaid.id, uuid4())} == {1}


def statements_of(invoice_id):
    """How many statements a recovery with a wrong preimage takes."""
    made = []
    with transaction() as session:
        event.listen(session.connection(), "before_cursor_execute", lambda *given: made.append(given[2]))
        with pytest.raises(NotFound):
            recover_paid(session, str(invoice_id), bytes(32), "api")
    return len(made)


def test_proof_is_audited_by_a_part_of_the_payment_hash(fake, signer):
    invoice = make_invoice(status="settled", settled_at=func.now())
    issue_now(invoice.id, signer.key_id)
    preimage = bytes.fromhex(prove_payment(invoice.id))
    with transaction() as session:
        assert recover_paid(session, str(invoice.id), preimage, "api").id == load_licenses(invoice.id)[0].id
    with reading() as session:
        details = session.scalars(select(AuditLine.detail).where(AuditLine.action == "license.recovered")).all()
    assert details == [{"payment": hashlib.sha256(preimage).hexdigest()[:16]}]


def test_audit_log_names_the_mailbox_by_its_hash(fake, signer):
    """For a link, its use, and a recovery by the purchase. Nothing in it reads as the address."""
    invoice = make_invoice(status="settled", settled_at=func.now())
    issue_now(invoice.id, signer.key_id)
    [sold] = load_licenses(invoice.id)
    assert redeem(make("Buyer@EXAMPLE.com")) == [sold.id]
    with transaction() as session:
        assert recover(session, str(invoice.id), "BUYER@example.com", "api").id == sold.id
    with reading() as session:
        lines = session.execute(select(AuditLine.action, AuditLine.detail).order_by(AuditLine.id)).all()
    by_action = dict(lines)
    address = hashlib.sha256(b"buyer@example.com").hexdigest()[:16]
    for action in ("recovery.linked", "recovery.redeemed", "license.recovered"):
        assert by_action[action] == {"address": address}
    assert "buyer@example.com" not in str(lines).lower()
