"""What the API says of errors and alarms: the facts and its own fields, never what one types on a command line."""

import re

from sqlalchemy import func, select, update

from keysat.catalog.terms import Terms
from keysat.core.db import reading, transaction
from keysat.models import Tip
from tests.builders import issue_now, make_catalog, make_invoice, set_account

COMMAND_LINE = re.compile(r"`keysat|--[a-z]|KEYSAT_")


def refusal(admin, method, path, body=None):
    answer = admin.call(method, path, body)
    assert answer.status_code >= 400
    assert not COMMAND_LINE.search(answer.text), answer.text
    return answer.json()["message"]


def held_tip(signer):
    make_catalog("tipped", terms=Terms(tip_recipient="dev@example.com", tip_pct_bps=500))
    invoice = make_invoice(product="tipped", status="settled", settled_at=func.now())
    issue_now(invoice.id, signer.key_id)
    with transaction() as session:
        session.execute(update(Tip).values(status="held", next_attempt_at=None))
    with reading() as session:
        return session.scalar(select(Tip.id))


def test_blank_note_is_named_as_the_field(admin):
    invoice = make_invoice()
    for path in (f"invoices/{invoice.id}/settle", f"invoices/{invoice.id}/dismiss"):
        assert refusal(admin, "POST", path, {"note": " "}) == "note: say why, for the audit log."


def test_held_tip_needs_the_note_of_its_route(admin, signer):
    tip = held_tip(signer)
    message = refusal(admin, "POST", f"tips/{tip}/retry")
    assert message.startswith(f"tip {tip} may have been paid; check the node")
    assert message.endswith(f"`note` of /v1/admin/tips/{tip}/release.")


def test_refusals_name_no_command(admin):
    make_invoice()
    assert refusal(admin, "GET", "accounts/nothing") == "no provider account nothing."
    assert refusal(admin, "DELETE", "accounts/main") == "invoices are bound to account main, so it stays."
    endpoint = {"name": "shop", "url": "http://shop.example.com/"}
    assert "must start with https://" in refusal(admin, "POST", "endpoints", endpoint)


def test_status_and_why_have_facts_without_commands(admin):
    invoice = make_invoice(review_reason="late", review_opened_at=func.now())
    paused = make_invoice()
    set_account(paused_at=func.now(), pause_reason="by hand")
    (breach,) = admin.get("status")["breaches"]
    assert breach == "1 provider accounts aren't called, one of them main."
    whys = [admin.get(f"invoices/{row.id}")["why"] for row in (invoice, paused)]
    assert whys[0].endswith("were paid after the invoice had expired")
    assert whys[1] == "account main is paused (by hand), so the provider isn't called"
