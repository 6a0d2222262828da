"""The links to other languages lead to the same page, with what was typed."""

import re
from html import unescape

import pytest

from keysat.operations.why import State
from keysat.web.tokens import page_of
from tests.web.pages.conftest import form_key, text_of
from tests.web.pages.states import make_purchase

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")


def link(shown):
    """The relative link to the page in German."""
    return unescape(re.search(r'<a href="([^"]+)" lang="de"', shown.text)[1])


def test_link_keeps_the_query(browser):
    shown = browser.get("/buy/none-such?policy=a%26b&code=A+B&code=C&lang=en&again=%22%3E%3Cb%3E")
    assert link(shown) == "?policy=a%26b&code=A+B&code=C&again=%22%3E%3Cb%3E&lang=de"


def switch(browser, shown, **fields):
    """Press the button for German, which belongs to the form."""
    button = re.search(r'<button [^>]*form="order"[^>]*value="show" formaction="([^"]+)" lang="de"', shown.text)
    names = ("email", "code")
    typed = {name: re.search(rf'name="{name}"[^>]* value="([^"]*)"', shown.text)[1] for name in names}
    chosen = re.search(r'value="([^"]+)" checked', shown.text)[1]
    return browser.post(
        unescape(button[1]), **{"key": form_key(shown), "policy": chosen, **typed, "do": "show", **fields}
    )


@pytest.mark.parametrize("sent", [True, False])
def test_form_is_kept_in_another_language(browser, buy, sent):
    if sent:
        shown = buy(email="nobody", code="WINTER")
    else:
        shown = browser.get("/buy/editor?email=nobody&code=WINTER&policy=standard")
    german = switch(browser, shown)
    assert '<html lang="de">' in german.text
    assert 'value="nobody"' in german.text
    assert 'value="WINTER"' in german.text
    assert form_key(german) == form_key(shown)
    assert "Diesen Code gibt es nicht." in text_of(german)


def test_purchase_made_again_is_kept_in_another_language(browser):
    invoice_id = make_purchase(State.EXPIRED)
    secret = page_of(invoice_id).rpartition("/")[2]
    german = switch(browser, browser.get(f"/buy/editor?again={secret}"))
    assert german.status_code == 200
    assert 'value="buyer@example.com"' in german.text


def test_link_of_an_error_after_a_post_leads_to_a_page(browser):
    page = page_of(make_purchase(State.WAITING))
    lost = browser.post("/p/nothing/check")
    assert lost.status_code == 404
    assert browser.get(f"/p/nothing/check{link(lost)}").status_code == 404
    sent = browser.get(f"{page}/check?lang=de")
    assert sent.status_code == 303
    assert sent.headers["location"].endswith("?lang=de")
