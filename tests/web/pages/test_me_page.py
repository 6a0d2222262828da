"""A holder's licenses on the pages: by key or by pass, with seats to free and receipts, and nothing by itself."""

import json
import re
import time

import pytest
from sqlalchemy import func

from keysat.core.db import DATABASE, transaction
from keysat.core.secrets import secret_box
from keysat.licenses.edit import replace_key, transfer_license
from keysat.licenses.machines import activate
from keysat.licenses.seats import Caller
from keysat.web.pages.holdings import MAX_SHOWN
from keysat.web.pages.passes import PASS_SECONDS, pass_of_holder
from keysat.web.state import read_key
from tests.builders import load_licenses, load_machines, make_license, set_columns, set_license
from tests.mail.letters import BUYER, license_sold
from tests.web.pages.conftest import text_of

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake_shop", "many_attempts")
UNPAID = ("paid_amount", "provider_account_id", "provider_invoice_id", "checkout_url")
XSS = """"'><script>alert(1)</script>"""


@pytest.fixture
def owned(signer):
    """A bought license that is used on two machines."""
    invoice_id, license_id = license_sold(signer)
    set_license(license_id, max_machines=2, releases_per_seat=1)
    (row,) = load_licenses(invoice_id)
    for name in ("laptop", "desk"):
        activate(DATABASE, read_key, signer.key_for(row), Caller.of(name, name, "linux"))
    return row


def proof(response):
    """The pass in a page's forms."""
    return re.search(r'name="pass" value="([\w=-]+)"', response.text)[1]


def active(row):
    return [machine.hostname for machine in load_machines(row.id) if machine.deactivated_at is None]


def free(browser, given, row, machine):
    return browser.post("/me", **{"pass": given, "license": row.id, "machine": machine.id, "do": "free"})


def test_pasted_key_shows_its_license_and_no_other(browser, owned, signer):
    key, other = signer.key_for(owned), make_license("player", holder_email=BUYER)
    shown = browser.post("/me", key=f"License key:\n “{key[:40]}\r\n {key[40:]}”")
    assert shown.status_code == 200
    words = text_of(shown)
    assert all(word in words for word in (key, "Editor", "laptop", "desk", "You can free 2 more seats"))
    assert signer.key_for(other) not in words


def test_holder_frees_a_seat_within_the_limit(browser, owned, signer):
    given = proof(browser.post("/me", key=signer.key_for(owned)))
    laptop, desk = load_machines(owned.id)
    freed = free(browser, given, owned, laptop)
    assert "The seat is free" in text_of(freed)
    assert active(owned) == ["desk"]
    assert "This seat is free already" in text_of(free(browser, proof(freed), owned, laptop))
    assert "The seat is free" in text_of(free(browser, given, owned, desk))
    activate(DATABASE, read_key, signer.key_for(owned), Caller.of("new", "new"))
    refused = free(browser, given, owned, load_machines(owned.id)[-1])
    assert "No more seats can be freed at the moment" in text_of(refused)
    assert active(owned) == ["new"]


def test_nothing_happens_without_a_key_or_a_pass(browser, owned, signer):
    """What another site could make a browser send."""
    machine = load_machines(owned.id)[0]
    fields = {"license": owned.id, "machine": machine.id, "do": "free"}
    browser.post("/me", key=signer.key_for(owned))
    for given in ({}, {"pass": ""}, {"pass": "nonsense"}, {"pass": "\xe4"}, {"key": ""}):
        assert browser.post("/me", **fields, **given).status_code == 404
    assert browser.get("/me").status_code == 200
    assert len(active(owned)) == 2


def test_pass_opens_only_what_its_holder_has(browser, owned, signer):
    given = pass_of_holder("other@example.com")
    theirs = make_license("player", holder_email="other@example.com")
    machine = load_machines(owned.id)[0]
    assert free(browser, given, owned, machine).status_code == 404
    assert "This seat is free already" in text_of(free(browser, given, theirs, machine))
    assert browser.post("/me", **{"pass": given, "license": owned.id, "do": "receipt"}).status_code == 404
    assert len(active(owned)) == 2
    assert signer.key_for(owned) not in browser.post("/me", **{"pass": given}).text


def test_pass_of_a_key_ends_with_the_key(browser, owned, signer):
    given = proof(browser.post("/me", key=signer.key_for(owned)))
    with transaction() as session:
        replace_key(session, owned.id, "cli", "it leaked")
    over = browser.post("/me", **{"pass": given})
    assert (over.status_code, "This page is too old" in text_of(over)) == (404, True)
    assert browser.post("/me", key=signer.key_for(owned)).status_code == 404


def test_pass_of_a_holder_ends_with_a_transfer(browser, owned, signer):
    given = pass_of_holder(BUYER)
    assert signer.key_for(owned) in browser.post("/me", **{"pass": given}).text
    with transaction() as session:
        transfer_license(session, owned.id, "new@example.com", "cli", "sold")
    assert "This address has no license any more." in text_of(browser.post("/me", **{"pass": given}))


def test_pass_ends_after_an_hour_and_is_nothing_else(browser, owned, settings):
    box, facts = secret_box(settings), json.dumps({"pass of holder": BUYER}).encode()
    old = box.encrypt_at_time(facts, int(time.time()) - PASS_SECONDS - 1).decode()
    other = box.encrypt(json.dumps({"path": "/recover/x"}).encode()).decode()
    for given in (old, other, box.encrypt(b"no mapping").decode()):
        assert browser.post("/me", **{"pass": given}).status_code == 404
    assert browser.post("/me", **{"pass": box.encrypt(facts).decode()}).status_code == 200


def test_wrong_keys_all_get_the_same_answer(browser, owned, signer):
    key = signer.key_for(owned)
    wrong = [key[:-1], key[:-2] + ("AA" if key[-2:] != "AA" else "BA"), "", "nonsense", "LIC1-A-B"]
    answers = [browser.post("/me", key=text) for text in wrong]
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}


def test_receipt_has_no_data_of_the_buyer(browser, owned):
    set_columns(owned.invoice_id, base_amount=25_000, buyer_note="a private note")
    given = {"pass": pass_of_holder(BUYER), "license": owned.id, "do": "receipt"}
    words = text_of(browser.post("/me", **given))
    parts = ("Receipt", "Editor", "Standard", "25,000 sat", "4,000 sat", "21,000 sat", str(owned.invoice_id))
    assert all(part in words for part in parts), words
    assert BUYER not in words
    assert "private" not in words
    assert "LIC1-" not in words
    assert "Sent back on" not in words
    set_columns(owned.invoice_id, reversed_at=func.now())
    assert "Sent back on" in text_of(browser.post("/me", **given))


@pytest.mark.parametrize(
    ("facts", "paid"),
    [
        ({"settled_by_hand": True, "paid_amount": None}, False),
        ({"exception": "marked", "paid_amount": 0}, False),
        ({"settled_by_hand": True, "paid_amount": 9_000}, True),
        ({"amount": 0, **dict.fromkeys(UNPAID)}, True),
    ],
)
def test_receipt_says_what_was_paid_if_that_is_known(browser, owned, facts, paid):
    """A sale that was settled by hand may have been paid elsewhere. A free one was paid with nothing."""
    set_columns(owned.invoice_id, **facts)
    given = {"pass": pass_of_holder(BUYER), "license": owned.id, "do": "receipt"}
    words = text_of(browser.post("/me", **given))
    assert "21,000 sat" in words
    assert ("Paid" in words) is paid


def test_receipt_stays_with_the_buyer(browser, owned, signer):
    with transaction() as session:
        transfer_license(session, owned.id, "new@example.com", "cli", "sold")
    (row,) = load_licenses(owned.invoice_id)
    shown = browser.post("/me", key=signer.key_for(row))
    assert "Receipt" not in text_of(shown)
    asked = {"pass": pass_of_holder("new@example.com"), "license": row.id, "do": "receipt"}
    assert browser.post("/me", **asked).status_code == 404


@pytest.mark.parametrize(
    ("facts", "word", "key_is_shown"),
    [
        ({"status": "suspended"}, "Suspended", True),
        ({"status": "revoked"}, "Revoked", False),
        ({"issued_at": func.now() - func.make_interval(1), "expires_at": func.now()}, "Over", True),
    ],
)
def test_license_that_is_not_valid(browser, owned, signer, facts, word, key_is_shown):
    set_license(owned.id, **facts)
    (row,) = load_licenses(owned.invoice_id)
    words = text_of(browser.post("/me", **{"pass": pass_of_holder(BUYER)}))
    assert word in words
    assert (signer.key_for(row) in words) is key_is_shown


def test_holder_of_very_many_sees_the_newest(browser, signer):
    first = make_license("player", holder_email=BUYER)
    with transaction() as session:
        for _ in range(MAX_SHOWN):
            copied = {c.name: getattr(first, c.name) for c in first.__table__.columns if c.name != "id"}
            session.add(type(first)(**copied))
    shown = text_of(browser.post("/me", **{"pass": pass_of_holder(BUYER)}))
    assert shown.count("LIC1-") == MAX_SHOWN
    assert f"These are the newest {MAX_SHOWN}." in shown
    assert signer.key_for(first) not in shown


def test_no_link_to_another_language_leads_away_from_the_keys(browser, owned):
    assert 'hreflang="de"' in browser.get("/me").text
    assert "hreflang" not in browser.post("/me?lang=en", **{"pass": pass_of_holder(BUYER)}).text


def test_names_of_machines_are_text(browser, owned, signer):
    activate(DATABASE, read_key, signer.key_for(owned), Caller.of("third", XSS, XSS))
    set_license(owned.id, max_machines=0)
    activate(DATABASE, read_key, signer.key_for(owned), Caller.of("third", XSS, XSS))
    shown = browser.post("/me", key=signer.key_for(owned))
    assert "<script>alert" not in shown.text
    assert "alert(1)" in text_of(shown)


def test_pages_are_not_stored_and_show_no_cookie_and_no_address_with_a_key(browser, owned, signer):
    key = signer.key_for(owned)
    shown = browser.post("/me", key=key)
    assert shown.headers["cache-control"] == "no-store"
    assert shown.headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in shown.headers
    assert not re.search(r'(?:href|action)="[^"]*LIC1-', shown.text)
    assert key not in str(shown.headers)


def test_page_shown_by_a_pass_counts_as_a_poll_and_a_freed_seat_as_a_purchase(browser, owned, signer, setting):
    given = proof(browser.post("/me", key=signer.key_for(owned)))
    setting(KEYSAT_RATE_PURCHASE="1/hour", KEYSAT_RATE_RECOVER="1/hour")
    assert [browser.post("/me", **{"pass": given, "do": "show"}).status_code for _ in range(3)] == [200] * 3
    laptop, desk = load_machines(owned.id)
    assert [free(browser, given, owned, machine).status_code for machine in (laptop, desk)] == [200, 429]
    assert active(owned) == ["desk"]
