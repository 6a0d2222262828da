"""What all pages have in common: headers, languages, escaping, limits, and the first page."""

import re
from urllib.parse import quote, urlsplit

import pytest
from markupsafe import escape
from sqlalchemy import update

from keysat.catalog.changes import change_policy, change_product
from keysat.catalog.products import add_policy
from keysat.catalog.terms import Terms
from keysat.core.db import transaction
from keysat.models import Product
from keysat.operations.why import State
from keysat.web.pages.language import LANGUAGES, Texts, catalog
from keysat.web.pages.render import origin_of
from keysat.web.tokens import page_of
from tests.builders import set_account, set_columns
from tests.markup import faults
from tests.web.pages.conftest import HTML, form_key, headings_of, text_of
from tests.web.pages.states import SHOWN, make_purchase

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")
XSS = """"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"""


def paths():
    """A path to each page."""
    page = page_of(make_purchase(State.LICENSED))
    return [
        "/",
        "/buy/editor",
        "/buy/none-such",
        page,
        f"{page}/pay",
        f"{page}/license.txt",
        "/p/nothing",
        "/recover",
        "/recover/x",
        "/me",
    ]


def test_every_page_has_the_headers(browser):
    for path in paths():
        headers = browser.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src")
        assert "base-uri 'none'; frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        # The form has no secret, and Back must show it with the same key.
        assert headers["cache-control"] == ("private, max-age=0" if path == "/buy/editor" else "no-store")
        assert headers["x-robots-tag"] == "noindex"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in headers


def test_form_may_lead_to_the_checkout_only(browser):
    set_account(base_url="https://pay.example.com/api")
    policy = browser.get("/buy/editor").headers["content-security-policy"]
    assert "form-action 'self' https://pay.example.com;" in policy
    assert origin_of("https://pay.example.com:8443/i/1") == "https://pay.example.com:8443"
    for url in ("javascript:alert(1)", "https://a;script-src *", "ftp://a", "https://", "http://[", None):
        assert origin_of(url) is None


def test_pages_name_no_other_host(browser):
    for path in paths():
        text = browser.get(path).text
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//(?!pay\.|fake)', text), path
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script>", text), path


def test_programs_get_json_and_browsers_a_page(browser, web_url):
    shown = browser.get("/")
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert "Editor" in text_of(shown)
    assert "21,000" in text_of(shown)
    for accept in ("*/*", "application/json", ""):
        told = browser.get("/", headers={"Accept": accept})
        assert told.json()["service"] == "keysat"
        assert "Accept" in told.headers["vary"]


def test_first_page_without_products(browser):
    with transaction() as session:
        change_product(session, "editor", {"archived": True}, "cli")
    assert "Nothing is sold here at the moment." in text_of(browser.get("/"))


def test_lowest_price_is_shown_as_from(browser):
    with transaction() as session:
        add_policy(session, "editor", "small", "Small", Terms(price_amount=5_000), actor="cli")
        add_policy(session, "editor", "trial", "Trial", Terms(price_amount=0, is_trial=True), actor="cli")
    assert "from 5,000 sat" in text_of(browser.get("/"))


def test_catalogs_have_the_same_texts_and_facts():
    english = catalog("en")
    for language in LANGUAGES:
        texts = catalog(language)
        assert set(texts) == set(english)
        for key, text in texts.items():
            facts = set(re.findall(r"\{(\w+)\}", text))
            assert facts == set(re.findall(r"\{(\w+)\}", english[key])) or key.endswith(".one"), key
    assert {f"state.{state}.{part}" for state in SHOWN for part in ("title", "text")} <= set(english)


@pytest.mark.parametrize(
    ("header", "query", "language"),
    [
        ("", "", "en"),
        ("de", "", "de"),
        ("fr, de;q=0.5, en;q=0.4", "", "de"),
        ("de;q=0.1,en-GB", "", "en"),
        ("de", "?lang=en", "en"),
        ("en", "?lang=de", "de"),
        ("de", "?lang=xx", "de"),
        (";;q=,,\xff", "", "en"),
        ("de;q=x", "", "en"),
    ],
)
def test_language_is_the_buyers(browser, header, query, language):
    shown = browser.get(f"/{query}", headers={"Accept-Language": header.encode("latin-1")})
    assert f'<html lang="{language}">' in shown.text


def test_chosen_language_stays(browser, buy):
    assert 'action="/buy/editor?lang=de&amp;sent=1"' in browser.get("/buy/editor?lang=de").text


def test_texts_of_strangers_are_text(browser, setting, buy):
    """Product, policy, entitlement, seller, typed fields, and what the buyer and the provider left in the row."""
    setting(KEYSAT_SELLER_NAME=XSS)
    with transaction() as session:
        named = {"slug": "export", "name": XSS, "description": XSS}
        change_product(session, "editor", {"name": XSS, "description": XSS, "entitlements_catalog": [named]}, "cli")
        change_policy(session, "editor", "standard", {"name": XSS, "description": XSS}, "cli")
    licensed, stuck = make_purchase(State.LICENSED), make_purchase(State.STUCK)
    set_columns(
        stuck, buyer_note=XSS, last_error=XSS, buyer_email=f"{XSS}@example.com", checkout_url=f"https://a/{XSS}"
    )
    shown = [
        browser.get(path) for path in ("/", "/buy/editor", page_of(licensed), page_of(stuck), page_of(stuck) + "/pay")
    ]
    shown += [buy(code=XSS, email=XSS), buy(policy=XSS), browser.get("/buy/editor", params={"code": XSS, "email": XSS})]
    shown += [browser.get(f"/buy/editor?again={page_of(stuck).rpartition('/')[2]}"), browser.get("/p/<script>")]
    before, _, _ = str(escape(XSS)).partition("{{")
    for response in shown:
        assert "<script>alert" not in response.text, response.url
        assert "<img src=x" not in response.text, response.url
        assert not re.search(r'="[^"]*"\'>', response.text), response.url
        assert f"{before}{{{{7*7}}}}" in response.text, response.url
        assert f"{before}49" not in response.text, response.url
        assert faults(response.text) == [], response.url


EVIL = "\r\nX-Evil: 1"


def test_nothing_typed_reaches_a_header(browser, buy):
    """Neither in a refusal, nor where the browser is sent on, nor in the name of a file."""
    bought, page = buy(email="a@example.com"), page_of(make_purchase(State.LICENSED))
    typed = {"key": form_key(browser.get("/buy/editor")), "policy": "standard", "do": "buy"}
    answers = [
        buy(email=f"a@example.com{EVIL}", code=f"A{EVIL}"),
        buy(policy=f"standard{EVIL}"),
        buy(key=f"key-of-twenty-letters{EVIL}"),
        browser.post(f"/buy/editor?lang=de{quote(EVIL)}", **typed),
        browser.post(f"{page}/check?lang=de{quote(EVIL)}"),
        browser.get(f"{page}/license.txt?lang=de{quote(EVIL)}"),
        browser.get(f"{page}{quote(EVIL)}"),
        browser.get(f"/buy/editor{quote(EVIL)}"),
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 303, 303, 303, 200, 404, 404]
    for answer in answers:
        assert "evil" not in str(answer.headers).lower(), answer.url
    assert answers[4].headers["location"] == urlsplit(page).path
    for answer in answers[2:4]:
        assert re.fullmatch(r"[^?#\s]+", answer.headers["location"])
        assert answer.headers["location"] != bought.headers["location"]


def test_pages_have_the_limits_of_the_api(browser, setting):
    setting(KEYSAT_RATE_PURCHASE="2/minute")
    shown = [browser.post("/buy/editor", do="apply") for _ in range(3)]
    assert [response.status_code for response in shown] == [200, 200, 429]
    assert "Too many requests" in text_of(shown[-1])
    assert shown[-1].headers["retry-after"]
    assert '<a class="button" href="?lang=en">Try again</a>' in shown[-1].text
    views = [browser.get("/buy/editor?code=GUESS").status_code for _ in range(3)]
    assert views == [400, 400, 429], "codes are guessed no faster, and views take nothing from the limit of purchases"
    assert browser.get("/buy/editor").status_code == 200


def test_logo_and_color_are_the_sellers(browser, setting, tmp_path):
    logo = tmp_path / "logo.svg"
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    setting(KEYSAT_SELLER_LOGO=str(logo), KEYSAT_SELLER_COLOR="#FFEE00", KEYSAT_SUPPORT_ADDRESS="help@example.com")
    text = browser.get("/").text
    assert 'href="mailto:help@example.com"' in text
    image = browser.get(re.search(r'src="(/assets/logo[^"]+)"', text)[1])
    assert image.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in image.headers["content-security-policy"]
    style = browser.get(re.search(r'href="(/assets/pages.css[^"]+)"', text)[1])
    assert style.text.startswith(":root{--accent:#")
    assert browser.get("/assets/..%2fbase.html").status_code == 404
    assert browser.get("/assets/secret").status_code == 404


def test_head_is_like_get(browser):
    for path in paths():
        shown = browser.get(path)
        head = browser.session.head(browser.at(path), headers=HTML, timeout=120)
        assert head.status_code == shown.status_code, path
        assert head.content == b"", path
        assert {**head.headers, "date": None} == {**shown.headers, "date": None}, path


def test_numbers_have_their_words():
    texts = Texts("en")
    assert texts.count("term.machines", 1) == "On one machine"
    assert texts.count("term.machines", 1_200) == "On 1,200 machines"
    assert Texts("de").count("term.days", 14) == "14 Tage gültig"


@pytest.mark.parametrize(("language", "title"), [("en", "Something went wrong"), ("de", "Etwas ist schiefgegangen")])
def test_unexpected_trouble_is_a_page(browser, log_of, language, title):
    """Here, of a row that no version of Keysat writes. The page blames nobody, and the log has the cause."""
    log = log_of("keysat.web.pages.render")
    with transaction() as session:
        session.execute(update(Product).values(entitlements_catalog=["of another shape"]))
    shown = browser.get(f"/buy/editor?lang={language}")
    assert shown.status_code == 500
    assert headings_of(shown) == [title]
    assert "shape" not in text_of(shown)
    assert [(line["log_level"], line["event"], line["exc_info"]) for line in log] == [("error", "page crashed", True)]
