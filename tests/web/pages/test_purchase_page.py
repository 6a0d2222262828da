"""The page of a purchase, over HTTP: a text for each state, its key, and nothing without the secret."""

import json
import re
from datetime import UTC, datetime
from itertools import islice
from string import ascii_letters, digits
from uuid import uuid4

import pytest
from sqlalchemy import func, select, update

from keysat.core.db import reading, transaction
from keysat.invoices.due import claim_again
from keysat.licenses.keys import verify
from keysat.models import Invoice, License
from keysat.models.license import LicenseStatus
from keysat.operations.why import State
from keysat.web.pages.language import LANGUAGES
from keysat.web.pages.progress import _NEVER
from keysat.web.tokens import page_of
from tests.builders import load_licenses, make_invoice, set_columns, set_license
from tests.nodes import wait_until
from tests.web.pages.conftest import headings_of, text_of, title_of
from tests.web.pages.states import SHOWN_AS, make_purchase
from tests.web.pages.titles import OTHER_TITLES, TITLES

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")


def assert_is_titled(shown, title):
    """The window and the page's only heading of the first level have the same title."""
    assert title_of(shown) == f"{title} · 127.0.0.1"
    assert headings_of(shown) == [title]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("state", State)
def test_every_state_is_put_into_words(browser, state, language):
    shown = browser.get(page_of(make_purchase(state)) + f"?lang={language}")
    assert shown.status_code == 200
    assert_is_titled(shown, TITLES[state][language])
    assert f'data-state="{SHOWN_AS.get(state, state)}"' in shown.text
    assert not re.search(r"\{|None|Undefined", text_of(shown))


@pytest.mark.parametrize("language", LANGUAGES)
def test_purchase_without_an_invoice_is_being_prepared(browser, language):
    invoice_id = make_purchase(State.WAITING)
    set_columns(invoice_id, provider_invoice_id=None, checkout_url=None)
    assert_is_titled(browser.get(page_of(invoice_id) + f"?lang={language}"), OTHER_TITLES["preparing"][language])


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
    ("facts", "face", "key_is_shown"),
    [
        ({"status": LicenseStatus.SUSPENDED}, "suspended", True),
        ({"status": LicenseStatus.REVOKED}, "revoked", False),
        ({"transferred_at": func.now()}, "transferred", False),
        ({"issued_at": func.now() - func.make_interval(1), "expires_at": func.now()}, "ended", True),
    ],
)
def test_license_that_is_not_valid(browser, signer, facts, face, key_is_shown):
    invoice_id = make_purchase(State.LICENSED)
    (owned,) = load_licenses(invoice_id)
    set_license(owned.id, **facts)
    (owned,) = load_licenses(invoice_id)
    for language in LANGUAGES:
        shown = browser.get(page_of(invoice_id) + f"?lang={language}")
        assert_is_titled(shown, OTHER_TITLES[face][language])
        assert ("refresh" in shown.text) is (face == "suspended"), "the seller may undo it"
        assert (signer.key_for(owned) in text_of(shown)) is key_is_shown
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


GUESSES, ALLOWED = 500, 317
LETTERS = ascii_letters + digits + "-_"


def guesses(right, other):
    """What somebody may try who knows a purchase's id, or half of its link, or another link, or nothing."""
    plain, _, secret = right.partition(".")
    yield from (f"{plain}.{secret[:length]}" for length in range(len(secret)))
    yield from (plain, f"{plain}.{other.partition('.')[2]}")
    yield from (f"{uuid4()}.{secret}" for _ in range(50))
    for place, old in enumerate(secret):
        yield from (
            f"{plain}.{secret[:place]}{new}{secret[place + 1 :]}" for new in LETTERS[place % 5 :: 5] if new != old
        )


def kept(headers):
    """The headers that aren't about the moment."""
    return tuple(sorted((name, value) for name, value in headers.items() if name not in {"date", "retry-after"}))


def test_guesses_all_get_the_same_answer_until_the_limit(browser, setting):
    """Once it is reached, the right link gets the same answer as the others, and nobody learns that it is right."""
    right, other = (page_of(make_purchase(State.LICENSED)).rpartition("/")[2] for _ in range(2))
    setting(KEYSAT_RATE_VALIDATE=f"{ALLOWED}/day")
    tried = list(islice(guesses(right, other), GUESSES))
    assert len(set(tried)) == GUESSES
    answers = [browser.get(f"/p/{guess}") for guess in [*tried, right]]
    assert [answer.status_code for answer in answers] == [404] * ALLOWED + [429] * (GUESSES + 1 - ALLOWED)
    refused, limited = answers[:ALLOWED], answers[ALLOWED:]
    for alike in (refused, limited):
        assert len({(answer.text, kept(answer.headers)) for answer in alike}) == 1
    assert all(int(answer.headers["retry-after"]) > 0 for answer in limited)
    setting(KEYSAT_RATE_VALIDATE="1000000/minute")
    assert browser.get(f"/p/{right}").status_code == 200


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
    wait_until(lambda: empty_broker.llen("reconcile"))
    sent = [json.loads(raw)["headers"] for raw in empty_broker.lrange("reconcile", 0, -1)]
    assert [(header["task"], header["argsrepr"]) for header in sent] == [
        ("keysat.reconcile_invoice", repr((str(invoice_id),)))
    ]


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


@pytest.mark.parametrize(("said", "shown"), [("Processing", False), (None, True)])
def test_purchase_that_only_webhooks_checked_is_not_called_unchecked(browser, said, shown):
    invoice_id = make_purchase(State.SEEN)
    set_columns(invoice_id, last_checked_at=None, last_said=said)
    assert ("Not checked yet." in text_of(browser.get(page_of(invoice_id)))) is shown
