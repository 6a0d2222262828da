"""The page of a purchase, over HTTP: a text for each state, its key, and nothing without the secret."""

import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select, update

from keysat.core.db import reading, transaction
from keysat.invoices.due import claim_again
from keysat.licenses.keys import verify
from keysat.models import Invoice, License
from keysat.models.license import LicenseStatus
from keysat.operations.why import State
from keysat.web.pages.progress import _NEVER
from keysat.web.tokens import page_of
from tests.builders import load_licenses, make_invoice, set_columns, set_license
from tests.web.pages.conftest import text_of
from tests.web.pages.states import make_purchase

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")

TITLES = {
    State.SHORT: "Your payment was too small",
    State.SEEN: "Payment seen",
    State.LICENSE_DUE: "Paid, thank you",
    State.EXPIRED: "The time to pay is over",
    State.STUCK: "If you paid, nothing is lost",
    State.REVERSED: "Your payment went back",
}


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("state", State)
def test_every_state_is_put_into_words(browser, state, language):
    shown = browser.get(page_of(make_purchase(state)) + f"?lang={language}")
    assert shown.status_code == 200
    words = text_of(shown)
    assert not re.search(r"\{|None|Undefined", words)
    if language == "en":
        assert TITLES.get(state, "") in words


def test_amounts_are_in_the_buyers_language(browser):
    page = page_of(make_purchase(State.SHORT))
    assert "9,000 sat of 21,000 sat arrived" in text_of(browser.get(page))
    assert "9.000 sat von 21.000 sat sind da" in text_of(
        browser.get(page, headers={"Accept-Language": "de-AT,en;q=.5"})
    )


def test_page_renews_itself_without_scripts(browser):
    waiting = browser.get(page_of(make_purchase(State.WAITING)))
    assert re.search(r'<noscript><meta http-equiv="refresh" content="3"></noscript>', waiting.text)


@pytest.mark.parametrize("state", sorted(_NEVER))
def test_page_rests_once_it_is_over(browser, state):
    assert "refresh" not in browser.get(page_of(make_purchase(state))).text


def test_payment_page_is_offered_while_it_can_be_paid(browser):
    invoice_id = make_purchase(State.WAITING)
    set_columns(invoice_id, checkout_url="https://pay.example.com/i/1")
    assert 'href="https://pay.example.com/i/1"' in browser.get(page_of(invoice_id)).text
    set_columns(invoice_id, checkout_url="javascript:alert(1)")
    assert "javascript:" not in browser.get(page_of(invoice_id)).text
    assert "javascript:" not in browser.get(page_of(invoice_id) + "/pay").text


def test_time_to_pay_is_shown_while_it_can_be_paid(browser):
    invoice_id = make_purchase(State.WAITING)
    with reading() as session:
        now = session.scalar(select(func.now())).astimezone(UTC)
    end = now.replace(hour=23, minute=59, second=59, microsecond=0)
    set_columns(invoice_id, expires_at=end)
    page = page_of(invoice_id)
    assert "Pay until 23:59 UTC." in text_of(browser.get(page))
    assert "Zahlbar bis 23:59 Uhr UTC." in text_of(browser.get(page + "?lang=de"))
    assert f'data-until="{end.isoformat()}"' in browser.get(page).text
    set_columns(invoice_id, expires_at=datetime(2999, 1, 31, 14, 5, tzinfo=UTC))
    assert "Pay until 31 January 2999, 14:05 UTC." in text_of(browser.get(page))
    for over in ({"expires_at": now}, {"expires_at": None}, {"expires_at": end, "status": "expired"}):
        set_columns(invoice_id, **over)
        assert "Pay until" not in text_of(browser.get(page))


@pytest.mark.parametrize(
    ("facts", "title", "key_is_shown"),
    [
        ({"status": LicenseStatus.SUSPENDED}, "This license is suspended", True),
        ({"status": LicenseStatus.REVOKED}, "This license was revoked", False),
        ({"transferred_at": func.now()}, "This license was transferred", False),
        ({"issued_at": func.now() - func.make_interval(1), "expires_at": func.now()}, "This license is over", True),
    ],
)
def test_license_that_is_not_valid(browser, signer, facts, title, key_is_shown):
    invoice_id = make_purchase(State.LICENSED)
    (owned,) = load_licenses(invoice_id)
    set_license(owned.id, **facts)
    (owned,) = load_licenses(invoice_id)
    words = text_of(browser.get(page_of(invoice_id)))
    assert title in words
    assert (signer.key_for(owned) in words) is key_is_shown
    assert browser.get(page_of(invoice_id) + "/license.txt").status_code == (200 if key_is_shown else 404)


def test_key_comes_as_a_text_file(browser, signer):
    invoice_id = make_purchase(State.LICENSED)
    got = browser.get(page_of(invoice_id) + "/license.txt")
    assert got.headers["content-disposition"] == 'attachment; filename="license-editor.txt"'
    assert got.headers["content-type"] == "text/plain; charset=utf-8"
    key = re.search(r"^LIC1\S+$", got.text, re.MULTILINE)[0]
    assert verify(key, signer.public_key).license_id == load_licenses(invoice_id)[0].id
    assert page_of(invoice_id) in got.text


def test_wrong_secrets_all_get_the_same_page(browser):
    right = page_of(make_purchase(State.LICENSED))
    invoice_id = right.rpartition("/")[2].partition(".")[0]
    wrong = [right[:-1], right + "A", f"/p/{invoice_id}", f"/p/{invoice_id}.", "/p/x", "/p/%00", "/p/" + "x" * 300]
    pages = [browser.get(path) for path in wrong]
    assert {shown.status_code for shown in pages} == {404}
    assert len({shown.text for shown in pages}) == 1
    for path in wrong:
        assert browser.post(f"{path}/check").status_code == 404
        assert browser.get(f"{path}/license.txt").status_code == 404


def checks(invoice_id):
    with reading() as session:
        return session.scalars(select(Invoice.check_count).where(Invoice.id == invoice_id)).one()


def test_buyer_triggers_a_check_but_not_many(browser, empty_broker):
    invoice_id = make_purchase(State.STUCK)
    set_columns(invoice_id, check_count=5)
    page = page_of(invoice_id)
    assert re.search(r"Last checked 2\d seconds ago\.", text_of(browser.get(page)))
    for _ in range(3):
        sent = browser.post(f"{page}/check")
        assert (sent.status_code, sent.headers["location"]) == (303, re.sub(r"^https?://[^/]+", "", page))
    assert checks(invoice_id) == 6
    assert not re.search(r"Last checked 2\d seconds", text_of(browser.get(page)))


@pytest.mark.parametrize("facts", [{"status": "settled", "settled_at": func.now()}, {"next_check_at": None}])
def test_check_of_an_invoice_that_is_over_does_nothing(facts):
    invoice_id = make_invoice(**facts).id
    with transaction() as session:
        session.execute(update(Invoice).values(last_checked_at=None))
        assert claim_again(session, invoice_id) is None


def test_page_of_another_signers_license_is_no_crash(browser):
    invoice_id = make_purchase(State.LICENSED)
    with transaction() as session:
        session.execute(update(License).values(signer="another"))
    assert browser.get(page_of(invoice_id)).status_code == 503
