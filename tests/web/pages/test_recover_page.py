"""The way back to a lost key on the pages: by mail, by the reference, and nothing for anybody else."""

import re

import pytest
from sqlalchemy import func, select

from keysat.core.db import reading
from keysat.core.settings import load_settings
from keysat.models import AuditLine, Mail, RecoveryLink
from keysat.web.state import signer as installed
from tests.builders import load_licenses, make_license, set_license
from tests.mail.letters import BUYER, license_sold, load_mail, load_mails, send_due
from tests.mail.letters import text_of as mail_text
from tests.web.pages.conftest import text_of

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake_shop", "many_attempts")


@pytest.fixture
def few_attempts(monkeypatch, many_attempts):
    monkeypatch.setenv("KEYSAT_RATE_RECOVER", "10/minute")
    load_settings.cache_clear()


def request_link(browser, mailer, mail_server, email=BUYER):
    """Request a link, and return its path as the mail has it."""
    browser.post("/recover", email=email)
    send_due(mailer)
    return re.search(r"https://license\.shop\.example(/recover/\S+)", mail_text(mail_server.taken[-1]))[1]


def audited(action):
    with reading() as session:
        return list(session.scalars(select(AuditLine.detail).where(AuditLine.action == action)))


def without_typed(response):
    return response.status_code, re.sub(r' value="[^"]*"', "", response.text)


def test_mailed_link_leads_to_all_keys(browser, mailer, mail_server, signer):
    invoice_id, _ = license_sold(signer)
    given = make_license("player", holder_email=BUYER.upper())
    link = request_link(browser, mailer, mail_server)
    shown = browser.post(link)
    assert shown.status_code == 200
    for row in (given, *load_licenses(invoice_id)):
        assert signer.key_for(row) in text_of(shown)
    assert "location" not in shown.headers
    assert "set-cookie" not in shown.headers


def test_link_is_used_by_the_button_and_not_by_opening_it(browser, mailer, mail_server, signer):
    license_sold(signer)
    link = request_link(browser, mailer, mail_server)
    for _ in range(3):
        opened = browser.get(link)
        assert opened.status_code == 200
        assert "LIC1-" not in opened.text
    assert browser.session.head(browser.at(link), timeout=60).status_code == 200
    assert browser.post(link).status_code == 200
    again = browser.post(link)
    assert again.status_code == 404
    assert "work any more" in text_of(again)


def test_opened_link_tells_nothing_about_itself(browser, mailer, mail_server, signer):
    license_sold(signer)
    link = request_link(browser, mailer, mail_server)
    assert len({browser.get(path).text for path in (link, "/recover/nothing", "/recover/%00")}) == 1


def test_link_without_an_answer_is_not_used_up(browser, mailer, mail_server, settings, signer):
    license_sold(signer)
    link = request_link(browser, mailer, mail_server)
    key_file = settings.signing_key_file
    away = key_file.rename(key_file.with_suffix(".away"))
    installed.cache_clear()
    try:
        assert browser.post(link).status_code == 503
    finally:
        away.rename(key_file)
    assert "LIC1-" in browser.post(link).text


def test_license_of_another_signer_blocks_no_other(browser, mailer, mail_server, signer):
    make_license("player", holder_email=BUYER, signer="another")
    invoice_id, _ = license_sold(signer)
    shown = browser.post(request_link(browser, mailer, mail_server))
    assert signer.key_for(load_licenses(invoice_id)[0]) in text_of(shown)
    assert "be shown here. Write to the seller" in text_of(shown)


def test_everybody_gets_the_same_answer_and_only_a_holder_a_mail(browser, mailer, mail_server, signer):
    license_sold(signer)
    answers = [browser.post("/recover", email=email) for email in (BUYER, "nobody@example.com", BUYER.upper())]
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, answers[0].text)}
    assert "a link is on its way" in text_of(answers[0])
    rows = [(mail.recipient, mail.status) for mail in load_mails() if mail.kind == "recovery"]
    assert rows == [(BUYER, "pending"), ("nobody@example.com", "pending")]
    send_due(mailer)
    assert [mail.recipients for mail in mail_server.taken] == [[BUYER], [BUYER]], "the receipt and the link"


def test_request_does_the_same_for_every_address(browser, mail_on, signer):
    """Nothing that takes time depends on whether the address holds a license."""
    license_sold(signer)
    for email in (BUYER, "nobody@example.com"):
        browser.post("/recover", email=email)
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(RecoveryLink)) == 2
        assert session.scalar(select(func.count()).where(Mail.kind == "recovery")) == 2
    assert audited("recovery.linked") == [], "strangers name any number of addresses"


def test_mail_is_in_the_language_of_the_page(browser, mailer, mail_server, signer):
    make_license("player", holder_email=BUYER)
    browser.post("/recover?lang=de", email=BUYER)
    assert load_mail().language == "de"
    send_due(mailer)
    assert "/recover/" in mail_text(mail_server.taken[0])
    assert "?lang=de" in mail_text(mail_server.taken[0])


def test_reference_shows_the_key_at_once(browser, signer):
    invoice_id, _ = license_sold(signer)
    asked = browser.get("/recover")
    assert "Give the e-mail address and the reference" in text_of(asked)
    found = browser.post("/recover", email=f" {BUYER.upper()} ", reference=f" {invoice_id} ")
    assert signer.key_for(load_licenses(invoice_id)[0]) in text_of(found)
    assert len(audited("license.recovered")) == 1
    assert load_mails() == []


def test_reference_works_beside_mail(browser, mail_on, signer):
    invoice_id, _ = license_sold(signer)
    assert "Optional. With it, your key appears at once." in text_of(browser.get("/recover"))
    assert "LIC1-" in browser.post("/recover", email=BUYER, reference=str(invoice_id)).text


def test_reference_of_another_opens_only_its_own_license(browser, signer):
    invoice_id, _ = license_sold(signer)
    other = make_license("player", holder_email=BUYER)
    assert signer.key_for(other) not in browser.post("/recover", email=BUYER, reference=str(invoice_id)).text


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"email": "nobody", "reference": "1"}, "It looks like name@example.com."),
        ({"reference": "1"}, "It looks like name@example.com."),
        ({"email": BUYER}, "Give the reference of your purchase, too."),
        ({"email": BUYER, "reference": "\0"}, "Give the reference of your purchase, too."),
        ({"email": f"{BUYER}\r\nBcc: x@example.com", "reference": "1"}, "It looks like name@example.com."),
    ],
)
def test_mistake_is_named(browser, typed, sentence):
    shown = browser.post("/recover", **typed)
    assert shown.status_code == 400
    assert sentence in text_of(shown)


GUESSES = {
    "a reference": lambda browser, number: browser.post("/recover", email=BUYER, reference=f"guess-{number}"),
    "an address": lambda browser, number: browser.post("/recover", email=f"{number}@example.com", reference="known"),
    "a link": lambda browser, number: browser.post(f"/recover/guess-{number}"),
    "a key": lambda browser, number: browser.post("/me", key=f"LIC1-GUESS{number}-AAAA"),
}


@pytest.mark.usefixtures("few_attempts")
@pytest.mark.parametrize("what", GUESSES)
def test_many_guesses_get_the_same_answer_and_are_limited(browser, signer, what):
    license_sold(signer, provider_invoice_id="known")
    answers = [GUESSES[what](browser, number) for number in range(500)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) > 400
    assert len({answer.text for answer in refused}) == 1
    assert {without_typed(answer) for answer in answers if answer not in refused} == {without_typed(answers[0])}
    assert answers[0].status_code == 404


def test_every_wrong_pair_gets_the_same_answer(browser, signer):
    paid, _ = license_sold(signer)
    revoked, license_id = license_sold(signer)
    set_license(license_id, holder_email="other@example.com")
    wrong = [(paid, "other@example.com"), (revoked, BUYER), ("nonsense", BUYER), (paid, "nobody@example.com")]
    answers = {
        without_typed(browser.post("/recover", email=email, reference=str(reference))) for reference, email in wrong
    }
    assert len(answers) == 1


def test_way_back_is_linked(browser):
    for path in ("/", "/p/nothing", "/me"):
        assert 'href="/recover"' in browser.get(path).text
    assert 'href="/me"' in browser.get("/recover").text


def test_form_of_a_purchase_promises_no_mail_that_is_off(browser):
    assert "No mail is sent." in text_of(browser.get("/buy/editor"))


def test_form_of_a_purchase_promises_the_receipt(browser, mail_on):
    assert "Your receipt comes there" in text_of(browser.get("/buy/editor"))
