"""Errors outside the API are pages for browsers, and JSON for programs."""

import pytest
from sqlalchemy import update

from keysat.core.db import transaction
from keysat.core.money import MAX_AMOUNT
from keysat.models import Product
from keysat.web.middleware import MAX_BYTES
from tests.web.pages.conftest import text_of

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "title"),
    [
        ("GET", "/nothing", {}, 404, "Page not found"),
        ("GET", "/assets/nothing", {}, 404, "Page not found"),
        ("GET", "/buy/editor/more", {}, 404, "Page not found"),
        ("POST", "/", {}, 405, "arrive as it should"),
        ("PUT", "/buy/editor", {}, 405, "arrive as it should"),
        ("POST", "/buy/editor", {"data": b"x" * (MAX_BYTES + 1)}, 413, "arrive as it should"),
        ("GET", "/nothing", {"headers": {"Host": "["}}, 404, "Page not found"),
    ],
)
def test_error_is_a_page_for_browsers_and_json_for_programs(browser, method, path, options, status, title):
    def ask(accept):
        headers = {**options.get("headers", {}), "Accept": accept}
        return browser.session.request(method, browser.at(path), timeout=60, **{**options, "headers": headers})

    shown = ask("text/html,*/*;q=0.8")
    assert shown.status_code == status
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert title in text_of(shown)
    assert shown.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]
    told = ask("*/*")
    assert told.status_code == status
    assert told.json()["ok"] is False
    assert shown.headers.get("allow") == told.headers.get("allow")


def test_api_answers_browsers_in_json(browser):
    assert browser.get("/v1/nothing").json()["error"] == "not_found"
    assert browser.get("/v1/purchase/nothing").json()["error"] == "not_found"


@pytest.mark.parametrize(("path", "to"), [("/buy", "/"), ("/buy/", "/"), ("/buy?lang=de", "/?lang=de")])
def test_address_without_a_product_leads_to_what_is_sold(browser, path, to):
    sent = browser.get(path)
    assert (sent.status_code, sent.headers["location"]) == (303, to)


def test_trouble_of_the_first_page_is_a_page(browser):
    with transaction() as session:
        session.execute(update(Product).values(price_amount=MAX_AMOUNT + 1))
    shown = browser.get("/")
    assert shown.status_code >= 400
    assert "<h1>" in shown.text
