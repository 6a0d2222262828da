"""Whoever holds a license reads that it was suspended or revoked, and gets the key once it is valid again."""

import pytest

from keysat.core.db import transaction
from keysat.licenses.edit import transfer_license
from keysat.models.license import LicenseStatus
from keysat.sales.license_changes import change_holder, change_license, give_new_key
from keysat.settlement.reverse import reverse, undo
from tests.builders import load_licenses, make_license
from tests.mail.letters import (
    BUYER,
    key_in,
    license_sold,
    load_mails,
    make_mails_due,
    parsed,
    send_due,
    text_of,
)
from tests.mail.server import CUT
from tests.renewals import load_license

ACTIVE, SUSPENDED, REVOKED = LicenseStatus.ACTIVE, LicenseStatus.SUSPENDED, LicenseStatus.REVOKED

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


def change(license_id, *targets):
    """Change a license's status, as often as named."""
    for target in targets:
        with transaction() as session:
            change_license(session, license_id, target, "cli", "stolen card")


def sent_kinds():
    """What was sent, in the order of its writing."""
    return [mail.kind for mail in load_mails() if mail.status == "sent"]


def one_line(taken):
    """The plain text of a message on one line."""
    return " ".join(text_of(taken).split())


@pytest.fixture
def sold(mailer, signer):
    """A license whose receipt was sent. Returns the ids of its invoice and of itself."""
    ids = license_sold(signer)
    send_due(mailer)
    return ids


@pytest.mark.parametrize(
    ("target", "told"), [(SUSPENDED, "was suspended"), (REVOKED, "was revoked, so it is no longer valid")]
)
def test_withdrawal_by_hand_is_told(mailer, mail_server, sold, target, told):
    """Without the note, which is the operator's, and without a key."""
    change(sold[1], target)
    send_due(mailer)
    _, taken = mail_server.taken
    assert taken.recipients == [BUYER]
    assert told in one_line(taken)
    assert "help@shop.example" in text_of(taken)
    assert "LIC1" not in text_of(taken)
    assert "stolen card" not in text_of(taken)


def test_each_change_is_told(mailer, signer, mail_server, sold):
    for target in (SUSPENDED, ACTIVE, SUSPENDED, REVOKED):
        change(sold[1], target)
        send_due(mailer)
    assert sent_kinds() == ["receipt", "suspended", "restored", "suspended", "revoked"]
    restored = mail_server.taken[2]
    assert parsed(restored)["Subject"] == "Your license for Editor is valid again"
    assert key_in(text_of(restored)) == signer.key_for(load_licenses()[0])


def test_change_that_was_taken_back_in_time_is_not_told(mailer, mail_server, sold):
    change(sold[1], SUSPENDED, ACTIVE)
    send_due(mailer)
    assert sent_kinds() == ["receipt"]
    change(sold[1], SUSPENDED, REVOKED)
    send_due(mailer)
    assert sent_kinds() == ["receipt", "revoked"]


def test_holder_who_may_have_read_of_it_reads_that_it_is_over(mailer, mail_server, sold):
    """The server took the first mail and didn't reply."""
    mail_server.answer = lambda at, _: CUT if at == "taken" else None
    change(sold[1], SUSPENDED)
    send_due(mailer)
    mail_server.answer = lambda *_: None
    change(sold[1], ACTIVE)
    make_mails_due()
    send_due(mailer)
    assert [(mail.kind, mail.status) for mail in load_mails()][1:] == [("suspended", "dropped"), ("restored", "sent")]


def test_buyer_whose_receipt_was_dropped_gets_the_key_after_all(mailer, signer, mail_server):
    """The license was suspended when the receipt was due."""
    _, license_id = license_sold(signer)
    change(license_id, SUSPENDED)
    send_due(mailer)
    change(license_id, ACTIVE)
    send_due(mailer)
    assert sent_kinds() == ["suspended", "restored"]
    assert key_in(text_of(mail_server.taken[1])) == signer.key_for(load_licenses()[0])


def test_undone_reversal_is_told_if_the_reversal_was(mailer, signer, mail_server, sold):
    with transaction() as session:
        reverse(session, sold[0], "suspend", "refunded", "cli")
    send_due(mailer)
    with transaction() as session:
        undo(session, sold[0], "a mistake", "cli")
    send_due(mailer)
    assert sent_kinds() == ["receipt", "reversed", "restored"]
    assert key_in(text_of(mail_server.taken[2])) == signer.key_for(load_licenses()[0])


def test_new_holder_is_told_without_the_buyers_page(mailer, signer, mail_server, sold):
    """The buyer reads of the payment, and the holder of the license, which has the holder's own key."""
    invoice_id, license_id = sold
    with transaction() as session:
        transfer_license(session, license_id, "new@example.com", "cli", "sold")
        reverse(session, invoice_id, "suspend", "refunded", "cli")
    send_due(mailer)
    with transaction() as session:
        undo(session, invoice_id, "a mistake", "cli")
    send_due(mailer)
    reversed_, suspended, restored = sorted(mail_server.taken[1:], key=lambda taken: taken.recipients)
    assert reversed_.recipients == [BUYER]
    assert suspended.recipients == restored.recipients == ["new@example.com"]
    assert "LIC1" not in text_of(reversed_) + text_of(suspended)
    assert key_in(text_of(restored)) == signer.key_for(load_licenses()[0])
    assert signer.purchase_token(invoice_id) not in text_of(restored)


def test_change_is_not_told_while_mail_is_off(signer):
    _, license_id = license_sold(signer)
    change(license_id, SUSPENDED)
    assert load_mails() == []


@pytest.fixture
def granted():
    """A license that was granted by hand, with its holder's address."""
    return make_license("viewer", holder_email="friend@example.com")


def test_holder_of_a_granted_license_is_told_too(mailer, mail_server, signer, granted):
    change(granted.id, SUSPENDED)
    send_due(mailer)
    change(granted.id, ACTIVE)
    send_due(mailer)
    suspended, restored = mail_server.taken
    assert suspended.recipients == restored.recipients == ["friend@example.com"]
    assert "was suspended" in one_line(suspended)
    assert str(granted.id) in text_of(suspended)
    assert key_in(text_of(restored)) == signer.key_for(load_license(granted.id))


def test_replaced_key_reaches_its_holder(mailer, mail_server, signer, sold):
    with transaction() as session:
        give_new_key(session, sold[1], "cli", "it leaked in public")
    send_due(mailer)
    taken = mail_server.taken[-1]
    assert parsed(taken)["Subject"] == "Your license for Editor has a new key"
    assert key_in(text_of(taken)) == signer.key_for(load_license(sold[1]))
    assert "leaked" not in text_of(taken)


@pytest.mark.parametrize("which", ["sold", "granted"])
def test_transferred_license_reaches_its_new_holder(mailer, mail_server, signer, which, request):
    found = request.getfixturevalue(which)
    license_id = found[1] if which == "sold" else found.id
    with transaction() as session:
        change_holder(session, license_id, "new@example.com", "cli", "sold on")
    send_due(mailer)
    taken = mail_server.taken[-1]
    assert taken.recipients == ["new@example.com"]
    assert key_in(text_of(taken)) == signer.key_for(load_license(license_id))
    assert "/p/" not in text_of(taken)


def test_key_goes_to_nobody_who_lost_the_license_before_the_mail_was_sent(mailer, mail_server, granted):
    with transaction() as session:
        give_new_key(session, granted.id, "cli", "it leaked")
    with transaction() as session:
        change_holder(session, granted.id, "first@example.com", "cli", "sold on")
    with transaction() as session:
        change_holder(session, granted.id, "second@example.com", "cli", "sold again")
    send_due(mailer)
    assert [taken.recipients for taken in mail_server.taken] == [["second@example.com"]]
    assert [mail.status for mail in load_mails()] == ["dropped", "dropped", "sent"]


def test_license_withdrawn_before_its_new_key_was_sent_gets_none(mailer, mail_server, granted):
    with transaction() as session:
        give_new_key(session, granted.id, "cli", "it leaked")
    change(granted.id, REVOKED)
    send_due(mailer)
    [taken] = mail_server.taken
    assert "was revoked" in one_line(taken)


def test_holder_without_an_address_gets_none(mailer, mail_server):
    row = make_license("viewer")
    change(row.id, SUSPENDED)
    with transaction() as session:
        give_new_key(session, row.id, "cli", "it leaked")
    assert load_mails() == []
