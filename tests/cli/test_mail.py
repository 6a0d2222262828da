"""`keysat mail`: what was sent, and sending again."""

import pytest
from sqlalchemy import func

from keysat.cli import doctor_host
from keysat.core.db import transaction
from keysat.licenses.edit import transfer_license
from keysat.mail.mail_queue import lease_mail
from keysat.mail.render import TemplateBroken
from keysat.models import AuditLine
from tests.builders import audit_actions, load_licenses
from tests.mail.conftest import mail_on, mail_server, mailer
from tests.mail.letters import BUYER, license_sold, load_mail, load_mails, make_mails_due, send_due, set_mails
from tests.mail.server import CUT

__all__ = ["mail_on", "mail_server", "mailer"]

pytestmark = pytest.mark.usefixtures("empty_database", "fake", "mail_on")


@pytest.fixture
def dead(mailer, signer, mail_server):
    """A dead letter, since the server refused the recipient. Now it takes everything."""
    license_sold(signer)
    mail_server.answer = lambda stage, _: "550 no such user" if stage == "rcpt" else None
    send_due(mailer)
    mail_server.answer = lambda *_: None
    return load_mail()


def test_list_filters(keysat, dead):
    [row] = keysat("mail", "list", "--status", "failed", "--json").json
    assert (row["id"], row["kind"], row["recipient"]) == (str(dead.id), "receipt", BUYER)
    assert "550 no such user" in row["last_error"]
    for given in (("--email", BUYER.upper()), ("--kind", "receipt"), ("--invoice", dead.invoice_id)):
        assert len(keysat("mail", "list", *given, "--json").json) == 1
    for given in (("--email", "x@example.com"), ("--kind", "seen"), ("--status", "sent")):
        assert keysat("mail", "list", *given, "--json").json == []


def test_show_has_the_text(keysat, dead, mailer):
    """Of one that was attempted as it is sent, of one that was sent as it would be now."""
    shown = keysat("mail", "show", dead.id)
    assert "LIC1-" in shown.out
    assert dead.message_id in shown.out
    assert keysat("mail", "show", dead.id, "--json").json["text"] in shown.out
    keysat("mail", "retry", dead.id)
    send_due(mailer)
    assert "LIC1-" in keysat("mail", "show", dead.id).out


def test_show_has_no_key_of_another_holder(keysat, dead):
    [row] = load_licenses()
    with transaction() as session:
        transfer_license(session, row.id, "new@example.com", "cli", "sold")
    shown = keysat("mail", "show", dead.id)
    assert "LIC1-" not in shown.out
    assert "its text can't be shown: the license was transferred" in shown.err


def test_retry_sends_the_same_message_again(keysat, dead, mailer, mail_server):
    retried = keysat("mail", "retry", dead.id)
    assert (retried.code, load_mail().status, load_mail().attempts) == (0, "pending", 0)
    send_due(mailer)
    [taken] = mail_server.taken
    assert dead.message_id.encode() in taken.content
    assert mailer.box.decrypt(dead.sealed_message) == taken.content
    assert audit_actions(dead.id) == ["mail.retried"]


def test_second_copy_has_an_id_of_its_own(keysat, dead, mailer, mail_server):
    """Mail programs show one of two messages with one id."""
    for _ in range(2):
        keysat("mail", "retry", dead.id)
        send_due(mailer)
    assert len({taken.content for taken in mail_server.taken}) == 2
    assert load_mail().message_id != dead.message_id


def test_retry_of_all_dead_letters(keysat, dead, signer, mailer, mail_server):
    license_sold(signer)
    assert "1 mails are due" in keysat("mail", "retry", "--failed").err
    send_due(mailer)
    assert len(mail_server.taken) == 2
    assert "name either a mail or --failed" in keysat("mail", "retry").refusal
    assert "name either a mail or --failed" in keysat("mail", "retry", dead.id, "--failed").refusal


def test_mail_that_is_being_sent_is_not_touched(keysat, dead):
    keysat("mail", "retry", dead.id)
    make_mails_due()
    with transaction() as session:
        assert lease_mail(session, dead.id) is not None
    assert "is being sent at this moment" in keysat("mail", "retry", dead.id).refusal
    assert "is being sent at this moment" in keysat("mail", "drop", dead.id, "--note", "x").refusal


def test_link_that_is_gone_is_not_sent_again(keysat, dead):
    set_mails(kind="recovery", status="dropped", sealed_message=None)
    assert "has a link that is no longer valid" in keysat("mail", "retry", dead.id).refusal


def test_drop_needs_a_note_and_ends_the_alarm(keysat, dead):
    assert "say why" in keysat("mail", "drop", dead.id, "--note", " ").refusal
    assert keysat("mail", "drop", dead.id, "--note", "phoned them").code == 0
    assert load_mail().status == "dropped"
    assert audit_actions(dead.id) == ["mail.dropped"]
    assert "was dropped" in keysat("mail", "drop", dead.id, "--note", "again").refusal


def test_unknown_mail(keysat, empty_database):
    unknown = "0198c0de-0000-7000-8000-000000000000"
    for command in (("show", unknown), ("retry", unknown), ("drop", unknown, "--note", "x")):
        assert keysat("mail", *command).refusal == f"no mail {unknown}; `keysat mail list` shows them."


def test_test_tells_the_answer(keysat, mail_server):
    assert "250 queued as 1234" in keysat("mail", "test", "me@shop.example").err
    mail_server.answer = lambda stage, _: "550 5.7.1 relaying denied" if stage == "rcpt" else None
    assert "refuses the recipient: 550 5.7.1 relaying denied" in keysat("mail", "test", "me@shop.example").refusal
    assert "no mail can be sent to 'nobody'" in keysat("mail", "test", "nobody").refusal


@pytest.mark.parametrize("command", ["suspend", "revoke"])
def test_license_withdrawn_by_hand_is_told(keysat, dead, command):
    assert keysat("license", command, load_licenses()[0].id, "--note", "chargeback").code == 0
    assert [mail.kind for mail in load_mails()] == ["receipt", f"{command.removesuffix('e')}ed"]


def test_history_of_an_invoice_has_its_mail(keysat, dead, mailer):
    def history():
        lines = keysat("invoice", "show", dead.invoice_id, "--json").json["timeline"]
        return [(line["action"], line["detail"]) for line in lines if line["action"].startswith("mail.")]

    assert [action for action, _ in history()] == ["mail.pending", "mail.failed"]
    assert "550 no such user" in history()[1][1]
    keysat("mail", "retry", dead.id)
    send_due(mailer)
    assert [action for action, _ in history()] == ["mail.pending", "mail.retried", "mail.sent"]
    assert "250 queued as 1234" in history()[2][1]


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"attempts": 1}, "1 mails failed for good and their buyers got nothing"),
        ({"status": "pending", "ended_at": None, "next_attempt_at": func.now() - func.make_interval(0, 0, 0, 0, 0, 6)},
         "1 mails wait for too long"),
        ({"status": "pending", "ended_at": None, "next_attempt_at": func.now(),
          "pending_since": func.now() - func.make_interval(0, 0, 0, 0, 2)}, "1 mails wait for too long"),
    ],
)  # fmt: skip
def test_status_tells_what_is_wrong(keysat, dead, facts, told):
    set_mails(**facts)
    found = keysat("status")
    assert found.code == 3
    assert told in found.err


def test_mail_off_is_named(keysat, monkeypatch, dead):
    from keysat.core.settings import load_settings

    monkeypatch.delenv("KEYSAT_SMTP_URL")
    load_settings.cache_clear()
    assert "KEYSAT_SMTP_URL and KEYSAT_MAIL_FROM name the server" in keysat("mail", "test", BUYER).refusal


def test_audit_of_a_retry_of_all_has_the_count(keysat, dead):
    from keysat.core.db import reading

    keysat("mail", "retry", "--failed")
    with reading() as session:
        line = session.query(AuditLine).filter(AuditLine.action == "mail.all_retried").one()
    assert line.detail == {"count": 1}


def test_history_has_why_a_mail_waits(keysat, dead, mailer, mail_server):
    mail_server.answer = lambda stage, _: "451 greylisted" if stage == "rcpt" else None
    keysat("mail", "retry", dead.id)
    send_due(mailer)
    lines = keysat("invoice", "show", dead.invoice_id, "--json").json["timeline"]
    assert "451 greylisted" in next(line["detail"] for line in lines if line["action"] == "mail.waits")


def test_doctor_tries_the_mail_server(mail_on, mail_server, settings, tmp_path):
    assert doctor_host.mail(settings) == "off, so buyers get no mail; KEYSAT_SMTP_URL turns it on"
    assert doctor_host.mail(mail_on) == f"127.0.0.1:{mail_server.port} takes mail on this machine"
    mail_server.answer = lambda stage, _: CUT if stage == "connect" else None
    with pytest.raises(doctor_host.Broken, match=r"failed at the connection.*; correct KEYSAT_SMTP_URL"):
        doctor_host.mail(mail_on)
    (tmp_path / "seen.jinja").write_text("{{ nothing }}")
    with pytest.raises(TemplateBroken):
        doctor_host.mail(mail_on.model_copy(update={"mail_templates": tmp_path}))
