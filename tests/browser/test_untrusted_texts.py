"""Texts of operators, buyers, programs and providers stay text, in a browser that would run any script in them."""

import itertools

import pytest

from keysat.catalog.changes import change_policy, change_product
from keysat.core.db import transaction
from keysat.licenses.edit import edit_license
from keysat.mail.render import Templates
from keysat.mail.samples import SAMPLES
from keysat.mail.texts import TEXTS
from keysat.operations.why import State
from keysat.web.tokens import page_of
from tests.builders import load_licenses, load_machines, set_account, set_columns
from tests.web.pages.states import make_purchase

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake_shop")

ENDS = "\"'></title></code></bdi>"
EVIL = f"{ENDS}<script>alert(1)</script><img src=x onerror=alert(1)>{{{{7*7}}}}"
SLUG = "<img src=x onerror=alert(1)>"
INJECTED = "script:not([src]), [onerror], [onload], [src=x], iframe, svg, [href^='javascript:']"
NO_POLICY = {"bypass_csp": True}  # so that only the escaping is in the way of a script


@pytest.fixture
def evil_seller(setting, tmp_path):
    logo = tmp_path / "'><img src=x onerror=alert(1)>.svg"
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>')
    setting(
        KEYSAT_SELLER_NAME=EVIL,
        KEYSAT_SELLER_LOGO=str(logo),
        KEYSAT_SUPPORT_ADDRESS="a&quot;onerror=alert(1)&gt;@example.com",
    )


def fill_shop():
    """Product, policy and entitlements."""
    named = {"slug": "export", "name": EVIL, "description": EVIL}
    with transaction() as session:
        change_product(session, "editor", {"name": EVIL, "description": EVIL, "entitlements_catalog": [named]}, "cli")
        facts = {"name": EVIL, "description": EVIL, "entitlements": ["export", SLUG]}
        change_policy(session, "editor", "standard", facts, "cli")
    set_account(last_error=EVIL)


def fill_invoice(invoice_id, checkout="javascript:alert(1)"):
    """What buyer and provider left in the row."""
    set_columns(
        invoice_id,
        buyer_email=f"{EVIL}@example.com",
        buyer_note=EVIL,
        last_error=EVIL,
        last_said=EVIL,
        checkout_url=checkout,
    )


def fill_license(api, signer, invoice_id):
    """A machine with evil names, and a license with an evil entitlement."""
    (row,) = load_licenses(invoice_id)
    used = {"key": signer.key_for(row), "fingerprint": EVIL, "hostname": EVIL, "platform": EVIL}
    assert api.post("/v1/machines/activate", used).json()["ok"]
    assert [machine.hostname for machine in load_machines(row.id)] == [EVIL]
    with transaction() as session:
        edit_license(session, row.id, {"entitlements": ["export", SLUG]}, "cli", EVIL)


def assert_is_text(page, shown=EVIL):
    assert page.locator(INJECTED).count() == 0, page.url
    assert shown in page.locator("html").text_content(), page.url
    assert "49" not in page.locator("h1").first.text_content()


def test_shop(open_page, evil_seller):
    fill_shop()
    page = open_page("/", **NO_POLICY)
    assert_is_text(page)
    open_page.go(page, "/buy/editor")
    assert_is_text(page)
    for field in ("email", "code"):
        page.fill(f"#{field}", EVIL)
    with page.expect_navigation():
        page.click("button[value=buy]")
    open_page.expect_refusal(400)
    assert [page.input_value(f"#{field}") for field in ("email", "code")] == [EVIL, EVIL]
    assert_is_text(page)
    with transaction() as session:
        change_product(session, "editor", {"archived": True}, "cli")
    open_page.go(page, "/buy/editor", 410)
    assert_is_text(page)
    open_page.go(page, "/p/%3Cimg%20src=x%20onerror=alert(1)%3E?lang=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", 404)
    assert_is_text(page)


@pytest.mark.parametrize("state", [State.LICENSED, State.STUCK, State.ACCOUNT_PAUSED, State.SHORT, State.EXPIRED])
def test_purchase(open_page, evil_seller, api, signer, state):
    invoice_id = make_purchase(state)
    fill_shop()
    fill_invoice(invoice_id)
    if state is State.LICENSED:
        fill_license(api, signer, invoice_id)
    page = open_page(page_of(invoice_id), **NO_POLICY)
    assert_is_text(page)
    assert state is not State.LICENSED or SLUG in page.locator("html").text_content()
    again = f"/buy/editor?again={page_of(invoice_id).rpartition('/')[2]}"
    open_page.go(page, again, 400)  # the address isn't one
    assert_is_text(page)
    assert page.input_value("#email") == f"{EVIL}@example.com"


def test_way_to_the_checkout(open_page, evil_seller, nowhere):
    invoice_id = make_purchase(State.WAITING)
    fill_shop()
    fill_invoice(invoice_id, f"{nowhere}/{EVIL}")
    page = open_page(f"{page_of(invoice_id)}/pay", **NO_POLICY)
    assert_is_text(page)
    assert page.locator("main a").first.get_attribute("href") == f"{nowhere}/{EVIL}"


def test_mail(open_page):
    """A mail program has no policy of the seller's. Only the escaping keeps its pages from running scripts."""
    page, templates = open_page("/"), Templates()
    page.goto("about:blank")
    for name, language in itertools.product(SAMPLES, TEXTS):
        given = {"seller": EVIL, "support": EVIL, **SAMPLES[name]}
        facts = {fact: f"{fact}: {EVIL}" if isinstance(value, str) else value for fact, value in given.items()}
        page.set_content(templates.render(name, language, facts).html)
        assert page.locator(INJECTED).count() == 0, name
        for fact in {"seller", "support", "product", "key", "entitlements"} & set(facts):
            assert facts[fact] in page.locator("body").text_content(), name
