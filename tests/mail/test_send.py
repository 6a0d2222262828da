"""A mail is sent until a server took it, with the same bytes each time, and what is over is never sent."""

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, update

from keysat.core.db import DATABASE, Base, reading, transaction
from keysat.core.errors import Conflict, SettingsError
from keysat.core.secrets import secret_box
from keysat.licenses.edit import edit_license, replace_key, transfer_license
from keysat.licenses.keys import verify
from keysat.licenses.withdraw import change_status
from keysat.mail import mail_queue
from keysat.mail.mail_queue import AT_ONCE, DELAYS, LEASE, due_mails, lease_mail, pull_back_mails, record_sent
from keysat.mail.manage import drop_mail, retry_mail
from keysat.mail.owe import MailedLink, owe_recovery_link, owe_seen, owe_short
from keysat.mail.send import Mailer, MailIsOff, send_mail, send_test_mail
from keysat.models import Product
from keysat.models.license import LicenseStatus
from keysat.settlement.resolve import dismiss
from keysat.settlement.reverse import reverse, undo
from tests.builders import load_licenses, make_invoice, make_license, set_columns, set_license
from tests.mail.letters import (
    BUYER,
    html_of,
    key_in,
    license_sold,
    load_mail,
    load_mails,
    make_mails_due,
    parsed,
    send_due,
    set_mails,
    text_of,
)
from tests.mail.server import CUT, HANG
from tests.nodes import wait_until

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


OPEN = """
SELECT count(*) FROM pg_stat_activity
WHERE xact_start IS NOT NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
PIECE = 20  # characters of a key, of which a line of a message has at least one piece


def reply_at(stage, reply):
    """Let a server reply so at one stage."""
    return lambda at, _: reply if at == stage else None


def test_receipt_brings_the_key(mailer, signer, mail_server):
    """To its buyer, once, with a key that verifies and the way to the page."""
    invoice_id, license_id = license_sold(signer)
    send_due(mailer)
    [taken] = mail_server.taken
    assert (taken.sender, taken.recipients) == ("licenses@shop.example", [BUYER])
    for body in (text_of(taken), html_of(taken)):
        assert f"https://license.shop.example/p/{signer.purchase_token(invoice_id)}" in body
        assert "help@shop.example" in body
    key = key_in(text_of(taken))
    assert verify(key, signer.public_key).license_id == license_id
    assert key in html_of(taken)
    mail = load_mail()
    assert (mail.status, mail.answer, mail.attempts) == ("sent", "250 queued as 1234", 1)
    assert (mail.sealed_message, mail.next_attempt_at, mail.leased_until) == (None, None, None)


def test_headers_say_who_writes_to_whom(mailer, signer, mail_server):
    license_sold(signer)
    send_due(mailer)
    headers = parsed(mail_server.taken[0])
    mail = load_mail()
    assert headers["From"] == "The shop <licenses@shop.example>"
    assert (headers["To"], headers["Message-ID"]) == (BUYER, mail.message_id)
    assert headers["Subject"] == "Your license for Editor"
    assert (headers["Auto-Submitted"], headers["Content-Language"]) == ("auto-generated", "en")
    assert headers["Date"].datetime == mail.created_at.replace(microsecond=0)


def test_answers_go_where_they_should(mail_on, signer, mail_server):
    license_sold(signer)
    send_due(Mailer.of(mail_on.model_copy(update={"mail_reply_to": "help@shop.example"}), signer))
    assert parsed(mail_server.taken[0])["Reply-To"] == "help@shop.example"


@pytest.mark.parametrize("at", ["connect", "mail", "rcpt", "data", "taken"])
def test_each_attempt_sends_the_same_bytes(mailer, signer, mail_server, at):
    """Also if the names changed since the first attempt, and the server may have taken it before."""
    license_sold(signer)
    mail_server.answer = reply_at(at, CUT)
    send_due(mailer)
    first, sealed = load_mail(), load_mail().sealed_message
    assert (first.status, first.attempts) == ("pending", int(at in {"data", "taken"}))
    assert sealed is not None
    with transaction() as session:
        session.execute(update(Product).values(name="Renamed"))
    mail_server.answer = lambda *_: None
    make_mails_due()
    send_due(mailer)
    assert len(mail_server.taken) == 1 + (at == "taken")
    assert len({taken.content for taken in mail_server.taken}) == 1
    assert parsed(mail_server.taken[0])["Subject"] == "Your license for Editor"


def test_key_is_nowhere_in_the_database(mailer, signer, mail_server):
    license_sold(signer)
    mail_server.answer = reply_at("rcpt", "451 later")
    send_due(mailer)
    key = signer.key_for(load_licenses()[0])
    with reading() as session:
        rows = [
            row
            for table in Base.metadata.sorted_tables
            for row in session.connection().exec_driver_sql(f"SELECT t::text FROM {table.name} t").scalars()
        ]
    # A message breaks the key into lines, and the database shows bytes as hex digits.
    pieces = [piece for start in range(0, len(key), PIECE) if len(piece := key[start : start + PIECE]) == PIECE]
    traces = {*pieces, *(piece.encode().hex() for piece in pieces)}
    assert any(trace in mailer.box.decrypt(load_mail().sealed_message).hex() for trace in traces)
    assert not [row for row in rows if any(trace in row for trace in traces)]


def test_greylisted_mail_is_sent_later(mailer, signer, mail_server):
    license_sold(signer)
    mail_server.answer = reply_at("rcpt", "451 4.7.1 greylisted")
    send_due(mailer)
    mail = load_mail()
    assert (mail.status, mail.attempts) == ("pending", 1)
    assert "451 4.7.1 greylisted" in mail.last_error
    assert load_mails()[0].next_attempt_at > mail.created_at + timedelta(seconds=DELAYS[1] * 0.7)
    mail_server.answer = lambda *_: None
    make_mails_due()
    send_due(mailer)
    assert (load_mail().status, load_mail().attempts, load_mail().last_error) == ("sent", 2, None)


@pytest.mark.parametrize("at", ["rcpt", "data"])
def test_final_refusal_makes_a_dead_letter_at_once(mailer, signer, mail_server, at):
    license_sold(signer)
    mail_server.answer = reply_at(at, "550 5.1.1 no such user")
    send_due(mailer)
    mail = load_mail()
    assert (mail.status, mail.attempts, mail.next_attempt_at) == ("failed", 1, None)
    assert "550 5.1.1 no such user" in mail.last_error


def test_refused_for_days_makes_a_dead_letter(mailer, signer, mail_server):
    """Neither ten attempts alone nor five days alone do, since a clock may be wrong."""
    license_sold(signer)
    mail_server.answer = reply_at("rcpt", "451 later")
    set_mails(attempts=len(DELAYS))
    send_due(mailer)
    assert load_mail().status == "pending"
    set_mails(attempts=1, pending_since=func.now() - timedelta(days=6))
    make_mails_due()
    send_due(mailer)
    assert load_mail().status == "pending"
    set_mails(attempts=len(DELAYS) - 1)
    make_mails_due()
    send_due(mailer)
    assert load_mail().status == "failed"


@pytest.mark.parametrize(
    ("at", "reply"),
    [("connect", CUT), ("mail", "550 unknown sender"), ("rcpt", "421 closing"), ("data", "421 closing")],
)
def test_trouble_of_the_server_counts_against_no_mail(mailer, signer, mail_server, at, reply):
    license_sold(signer)
    set_mails(attempts=len(DELAYS), pending_since=func.now() - timedelta(days=30))
    mail_server.answer = reply_at(at, reply)
    send_due(mailer)
    mail = load_mail()
    assert (mail.status, mail.attempts, mail.leased_until) == ("pending", len(DELAYS), None)
    assert str(mail_server.port) in mail.last_error


@pytest.mark.parametrize("at", ["data", "taken"])
def test_message_without_a_reply_counts_as_refused_for_now(mailer, signer, mail_server, at):
    """Each attempt may make a copy, so they get rarer and end. The next mail waits for the scan, as after trouble."""
    license_sold(signer)
    mail_server.answer = reply_at(at, CUT)
    next_mail = send_mail(DATABASE, mailer, load_mail().id)
    mail = load_mail()
    assert (mail.status, mail.attempts, next_mail) == ("pending", 1, None)
    set_mails(attempts=len(DELAYS) - 2)
    make_mails_due()
    send_due(mailer)
    mail = load_mail()
    assert mail.next_attempt_at > mail.created_at + timedelta(seconds=DELAYS[-1] * 0.7)
    set_mails(pending_since=func.now() - timedelta(days=6))
    make_mails_due()
    send_due(mailer)
    assert load_mail().status == "failed"


def test_lease_is_kept_while_the_server_takes_its_time(mailer, signer, mail_server, monkeypatch):
    """No other sender takes the mail meanwhile, and the reply is recorded."""
    monkeypatch.setattr(mail_queue, "LEASE", timedelta(seconds=4.5))
    license_sold(signer)
    mail_id, reached, go_on = load_mail().id, threading.Event(), threading.Event()
    mail_server.answer = lambda at, _: (reached.set(), go_on.wait(120), None)[2] if at == "taken" else None
    sending = threading.Thread(target=send_mail, args=(DATABASE, mailer, mail_id))
    sending.start()
    assert reached.wait(60)
    first_lease_ends = load_mail().leased_until
    wait_until(lambda: load_mail().leased_until > first_lease_ends + mail_queue.LEASE, timeout=60)
    assert send_mail(DATABASE, mailer, mail_id) is None
    go_on.set()
    sending.join()
    assert (load_mail().status, load_mail().attempts, len(mail_server.taken)) == ("sent", 1, 1)


def test_mail_that_is_being_sent_is_left_alone(mailer, signer, mail_server):
    """Two senders attempt one mail: the second finds nothing to do. Only so many are sent at once."""
    for _ in range(AT_ONCE + 1):
        license_sold(signer)
    first, *others = load_mails()
    with transaction() as session:
        leased = lease_mail(session, first.id)
    assert send_mail(DATABASE, mailer, first.id) is None
    with transaction() as session:
        assert sum(lease_mail(session, mail.id) is not None for mail in others) == AT_ONCE - 1
        assert due_mails(session, 100) == []
    assert mail_server.taken == []
    with transaction() as session:
        assert record_sent(session, leased, "250 OK") == others[-1].id


def test_sender_that_died_is_replaced(mailer, signer, mail_server):
    license_sold(signer)
    with transaction() as session:
        assert lease_mail(session, load_mail().id) is not None
    send_due(mailer)
    assert mail_server.taken == []
    set_mails(leased_until=func.now() - timedelta(seconds=1), next_attempt_at=func.now())
    send_due(mailer)
    assert len(mail_server.taken) == 1


def test_wrong_clock_delays_no_mail(mailer, signer, mail_server):
    license_sold(signer)
    far = func.now() + timedelta(days=40)
    set_mails(next_attempt_at=far, leased_until=far + LEASE)
    with transaction() as session:
        pull_back_mails(session)
    send_due(mailer)
    assert load_mail().status == "sent"


def test_hanging_server_holds_up_nothing_else(mailer, signer, mail_server):
    """No transaction is open while the server hangs."""
    license_sold(signer)
    reached = threading.Event()
    mail_server.answer = lambda at, _: (reached.set(), HANG)[1] if at == "rcpt" else None
    sending = threading.Thread(target=send_due, args=(mailer,))
    sending.start()
    assert reached.wait(60)
    with reading() as session:
        # PostgreSQL would end an idle one after half a minute.
        wait_until(lambda: session.connection().exec_driver_sql(OPEN).scalar() == 0, timeout=15)
    mail_server.close()
    sending.join()
    assert load_mail().status == "pending"
    mail_server.close = lambda: None


def withdrawn(invoice_id):
    [row] = load_licenses(invoice_id)
    set_license(row.id, status="suspended")


def reverse_and_undo(invoice_id):
    with transaction() as session:
        reverse(session, invoice_id, "suspend", "refunded", "cli")
        undo(session, invoice_id, "a mistake", "cli")


def test_receipt_of_a_withdrawn_license_is_dropped(mailer, signer, mail_server):
    invoice_id, _ = license_sold(signer)
    withdrawn(invoice_id)
    send_due(mailer)
    assert (load_mail().status, load_mail().last_error) == ("dropped", "the license is withdrawn")
    assert mail_server.taken == []


def attempt_twice(mailer, mail_server, change, at="rcpt", reply="451 later"):
    """Attempt the only mail, which fails, then make a change and attempt it again."""
    mail_server.answer = reply_at(at, reply)
    send_due(mailer)
    assert load_mail().sealed_message is not None
    with transaction() as session:
        change(session)
    mail_server.answer = lambda *_: None
    make_mails_due()
    send_due(mailer)


@pytest.mark.parametrize("target", [LicenseStatus.SUSPENDED, LicenseStatus.REVOKED])
def test_receipt_of_a_license_withdrawn_since_the_first_attempt_is_dropped(mailer, signer, mail_server, target):
    _, license_id = license_sold(signer)
    attempt_twice(mailer, mail_server, lambda session: change_status(session, license_id, target, "cli", "shared"))
    mail = load_mail()
    assert (mail.status, mail.last_error) == ("dropped", "the license is withdrawn")
    assert (mail.sealed_message, mail_server.taken) == (None, [])


def transfer(license_id):
    return lambda session: transfer_license(session, license_id, "new@example.com", "cli", "sold")


def test_receipt_of_a_transferred_license_is_dropped(mailer, signer, mail_server):
    """Its key is the new holder's, and its page is the buyer's. Nobody gets both."""
    _, license_id = license_sold(signer)
    attempt_twice(mailer, mail_server, transfer(license_id))
    assert (load_mail().status, load_mail().last_error) == ("dropped", "the license was transferred")
    assert mail_server.taken == []


def test_retry_gives_no_key_to_the_former_holder(mailer, signer, mail_server):
    _, license_id = license_sold(signer)
    send_due(mailer)
    with transaction() as session:
        transfer(license_id)(session)
        retry_mail(session, load_mail().id, "cli")
    send_due(mailer)
    assert (load_mail().status, len(mail_server.taken)) == ("dropped", 1)


def test_replaced_key_is_sent_with_an_id_of_its_own(mailer, signer, mail_server):
    """The server may have taken the first message, so no Message-ID has two bodies."""
    _, license_id = license_sold(signer)
    attempt_twice(
        mailer, mail_server, lambda session: replace_key(session, license_id, "cli", "leaked"), at="taken", reply=CUT
    )
    first, second = mail_server.taken
    assert key_in(text_of(second)) == signer.key_for(load_licenses()[0]) != key_in(text_of(first))
    assert parsed(second)["Message-ID"] == load_mail().message_id != parsed(first)["Message-ID"]


def test_receipt_goes_to_the_holders_corrected_address(mailer, signer, mail_server):
    """Whether it was attempted or sent before. The former address gets nothing more."""
    _, license_id = license_sold(signer)

    def correct(session):
        edit_license(session, license_id, {"holder_email": "right@example.com"}, "cli", "a typo")

    attempt_twice(mailer, mail_server, correct)
    with transaction() as session:
        edit_license(session, license_id, {"holder_email": "newer@example.com"}, "cli", "moved")
        retry_mail(session, load_mail().id, "cli")
    send_due(mailer)
    assert [taken.recipients for taken in mail_server.taken] == [["right@example.com"], ["newer@example.com"]]
    assert [parsed(taken)["To"] for taken in mail_server.taken] == ["right@example.com", "newer@example.com"]
    assert load_mail().recipient == "newer@example.com"
    assert len({parsed(taken)["Message-ID"] for taken in mail_server.taken}) == 2


def test_mail_whose_recipient_has_no_address_any_more_is_dropped(mailer, signer, mail_server):
    license_sold(signer)
    set_columns(load_mail().invoice_id, buyer_email=None)
    send_due(mailer)
    assert (load_mail().status, mail_server.taken) == ("dropped", [])


def test_dropped_mail_that_is_true_again_has_another_id(mailer, signer, mail_server):
    """Its bytes are gone, and the server may have taken them."""
    _, license_id = license_sold(signer)

    def suspend(session):
        change_status(session, license_id, LicenseStatus.SUSPENDED, "cli", "a mistake")

    attempt_twice(mailer, mail_server, suspend, at="taken", reply=CUT)
    assert load_mail().status == "dropped"
    with transaction() as session:
        change_status(session, license_id, LicenseStatus.ACTIVE, "cli", "it was")
        session.execute(update(Product).values(name="Renamed"))
        retry_mail(session, load_mail().id, "cli")
    send_due(mailer)
    assert len({parsed(taken)["Message-ID"] for taken in mail_server.taken}) == len(mail_server.taken) == 2


def test_reversal_of_another_kind_is_told_anew(mailer, signer, mail_server):
    """The license was suspended at the first attempt and is revoked now."""
    invoice_id, license_id = license_sold(signer)
    send_due(mailer)
    mail_server.answer = reply_at("taken", CUT)
    with transaction() as session:
        reverse(session, invoice_id, "suspend", "refunded", "cli")
    send_due(mailer)
    mail_server.answer = lambda *_: None
    set_license(license_id, status="revoked")
    make_mails_due()
    send_due(mailer)
    _, first, second = mail_server.taken
    assert "is suspended" in " ".join(text_of(first).split())
    assert "no longer valid" in " ".join(text_of(second).split())
    assert parsed(first)["Message-ID"] != parsed(second)["Message-ID"]


def test_undone_reversal_is_not_reported(mailer, signer, mail_server):
    invoice_id, _ = license_sold(signer)
    send_due(mailer)
    reverse_and_undo(invoice_id)
    send_due(mailer)
    assert [(mail.kind, mail.status) for mail in load_mails()] == [("receipt", "sent"), ("reversed", "dropped")]


@pytest.mark.parametrize(("how", "told"), [("suspend", "suspended"), ("revoke", "no longer valid")])
def test_reversal_tells_what_became_of_the_license(mailer, signer, mail_server, how, told):
    invoice_id, _ = license_sold(signer)
    send_due(mailer)
    with transaction() as session:
        reverse(session, invoice_id, how, "refunded", "cli")
    send_due(mailer)
    assert told in " ".join(text_of(mail_server.taken[1]).split())
    assert "LIC1" not in text_of(mail_server.taken[1])


def test_seen_payment_is_told_unless_it_is_confirmed_by_then(mailer, signer, mail_server):
    waiting, confirmed = make_invoice(paid_amount=20_000), make_invoice(status="settled", settled_at=func.now())
    ended, in_review = make_invoice(status="invalid"), make_invoice(review_reason="refunded")
    with transaction() as session:
        for invoice in (waiting, confirmed, ended, in_review):
            owe_seen(session, invoice.id)
    make_mails_due()
    send_due(mailer)
    assert [mail.status for mail in load_mails()] == ["sent", "dropped", "dropped", "dropped"]
    [taken] = mail_server.taken
    assert "20,000 sat" in text_of(taken)
    assert signer.purchase_token(waiting.id) in text_of(taken)


def test_short_payment_is_told_with_its_amounts(mailer, signer, mail_server):
    facts = {"review_reason": "underpaid", "paid_amount": 20_000}
    waiting, dismissed = make_invoice(**facts), make_invoice(**facts)
    with transaction() as session:
        for invoice in (waiting, dismissed):
            owe_short(session, invoice.id)
        dismiss(session, dismissed.id, "refunded by hand", "cli")
    send_due(mailer)
    assert [mail.status for mail in load_mails()] == ["sent", "dropped"]
    [taken] = mail_server.taken
    assert all(amount in text_of(taken) for amount in ("20,000 sat", "21,000 sat", "1,000 sat"))


@pytest.mark.parametrize(("rest_paid", "status"), [(9_000, "sent"), (11_000, "dropped")])
def test_short_payment_counts_its_rests(mailer, fake, mail_server, rest_paid, status):
    invoice = make_invoice(review_reason="underpaid", paid_amount=10_000, rest_paid=rest_paid)
    with transaction() as session:
        owe_short(session, invoice.id)
    send_due(mailer)
    assert load_mail().status == status
    assert all("19,000 sat" in text_of(taken) and "2,000 sat" in text_of(taken) for taken in mail_server.taken)


@pytest.mark.parametrize(
    ("reason", "paid", "status"),
    [
        ("underpaid", None, "sent"),
        ("underpaid", 21_000, "dropped"),
        ("amount", 20_999, "sent"),
        ("amount", None, "dropped"),
        ("refunded", 20_000, "dropped"),
        ("unconfirmed", 21_000, "dropped"),
    ],
)
def test_payment_is_called_too_low_only_if_money_is_missing(mailer, fake, mail_server, reason, paid, status):
    """By then: the rest may have arrived, or the review may be another one."""
    invoice = make_invoice(review_reason=reason, paid_amount=paid)
    with transaction() as session:
        owe_short(session, invoice.id)
    send_due(mailer)
    assert load_mail().status == status


def recovery(mail_on, holder=BUYER, valid_for=timedelta(minutes=30)):
    make_license(holder_email=holder)
    with transaction() as session:
        link = MailedLink(uuid4(), "/me/secret", valid_for, "de")
        owe_recovery_link(session, secret_box(mail_on), BUYER, link)


def test_recovery_link_arrives_and_is_forgotten(mail_on, mailer, mail_server):
    recovery(mail_on)
    send_due(mailer)
    assert "https://license.shop.example/me/secret" in text_of(mail_server.taken[0])
    assert parsed(mail_server.taken[0])["Subject"] == "Ihre Käufe bei license.shop.example"
    assert load_mail().sealed_link is None


def test_recovery_link_of_nobody_is_dropped(mail_on, mailer, mail_server):
    """Whether the address holds a license is asked here, not when a stranger requests a link."""
    recovery(mail_on, holder="other@example.com")
    send_due(mailer)
    assert (load_mail().status, load_mail().last_error) == ("dropped", "the address holds no license")
    assert mail_server.taken == []


def test_recovery_link_that_is_over_is_dropped(mail_on, mailer, mail_server):
    """Also if it was attempted in time."""
    recovery(mail_on)
    mail_server.answer = reply_at("rcpt", "451 later")
    send_due(mailer)
    set_mails(useful_until=func.now())
    mail_server.answer = lambda *_: None
    make_mails_due()
    send_due(mailer)
    assert (load_mail().status, mail_server.taken) == ("dropped", [])
    assert (load_mail().sealed_message, load_mail().sealed_link) == (None, None)


def test_link_that_a_person_drops_is_forgotten(mail_on):
    recovery(mail_on)
    with transaction() as session:
        drop_mail(session, load_mail().id, "asked twice", "cli")
    assert (load_mail().status, load_mail().sealed_link) == ("dropped", None)


@pytest.mark.parametrize("status", ["sent", "dropped"])
def test_mail_that_ended_has_no_link(mail_on, status):
    recovery(mail_on)
    with pytest.raises(Conflict, match="ck_mails_sealed_message"):
        set_mails(status=status, next_attempt_at=None, ended_at=func.now())


def test_name_of_a_product_splits_no_header(mailer, signer, mail_server):
    license_sold(signer)
    with transaction() as session:
        session.execute(
            update(Product).values(name="Editor\r\nBcc: other@example.com\r\n\r\n<script>alert(1)</script>")
        )
    send_due(mailer)
    [taken] = mail_server.taken
    headers = parsed(taken)
    assert "Bcc" not in headers
    assert taken.recipients == [BUYER]
    assert "<script>" in headers["Subject"]
    assert "<script>" not in html_of(taken)


@pytest.mark.parametrize("address", ["buyer@example.com\r\nBcc: other@example.com", "a,b@example.com", "buyer@-.com"])
def test_address_that_no_server_takes_makes_a_dead_letter(mailer, signer, mail_server, address):
    license_sold(signer, buyer_email=address)
    send_due(mailer)
    assert (load_mail().status, mail_server.taken) == ("failed", [])
    assert "no mail can be sent to" in load_mail().last_error


@pytest.mark.parametrize(
    ("address", "recipient"),
    [
        ("buyer@bücher.example", "buyer@xn--bcher-kva.example"),
        ("jürgen@bücher.example", "jürgen@xn--bcher-kva.example"),
    ],
)
def test_address_of_other_letters_is_reached(mailer, signer, mail_server, address, recipient):
    license_sold(signer, buyer_email=address)
    send_due(mailer)
    [taken] = mail_server.taken
    assert taken.recipients == [recipient]
    assert parsed(taken)["To"] == recipient


def test_key_that_is_gone_waits_for_a_person(mailer, signer, mail_server):
    _, license_id = license_sold(signer)
    set_license(license_id, signer="another")
    send_due(mailer)
    mail = load_mail()
    assert (mail.status, mail.attempts) == ("pending", 0)
    assert "the issued licenses were signed with another" in mail.last_error


def test_message_of_an_unknown_secrets_key_waits(mailer, signer, mail_server):
    license_sold(signer)
    mail_server.answer = reply_at("rcpt", "451 later")
    send_due(mailer)
    set_mails(sealed_message=b"gAAAA")
    make_mails_due()
    send_due(mailer)
    assert "can't be decrypted with the configured keys" in load_mail().last_error


def test_mailer_needs_a_server(settings, signer):
    with pytest.raises(MailIsOff) as refused:
        Mailer.of(settings, signer)
    assert isinstance(refused.value, SettingsError)


def test_test_mail_returns_the_answer(mailer, mail_server):
    assert send_test_mail(mailer, BUYER) == "250 queued as 1234"
    assert parsed(mail_server.taken[0])["Subject"] == "A test from license.shop.example"
    assert load_mails() == []
