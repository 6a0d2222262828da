"""A lost key comes back in a real browser: by mail, by the reference, and a seat is freed, with and without scripts."""

import re

import pytest
from playwright.sync_api import expect

from keysat.core.db import DATABASE
from keysat.licenses.keys import verify
from keysat.licenses.machines import activate
from keysat.licenses.seats import Caller
from keysat.web.state import read_key
from tests.browser.conftest import examine
from tests.builders import (
    load_licenses,
    load_machines,
    make_account,
    make_license,
    prove_payment,
    set_columns,
    set_license,
)
from tests.mail.letters import BUYER, license_sold, send_due, text_of

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake_shop")


@pytest.fixture
def machines(signer):
    """A license on two machines, and another one of the same holder. Returns the id of the first."""
    invoice_id, license_id = license_sold(signer)
    set_columns(invoice_id, base_amount=25_000)
    set_license(license_id, max_machines=3)
    (row,) = load_licenses(invoice_id)
    for name, platform in (("lena-laptop", "Linux x86_64"), ("studio", "macOS arm64")):
        activate(DATABASE, read_key, signer.key_for(row), Caller.of(name, name, platform))
    make_license("player", holder_email=BUYER, is_trial=True)
    return license_id


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "plain"])
def test_key_comes_by_mail_and_a_seat_is_freed(mailer, mail_server, machines, open_page, signer, scripts):
    page = open_page("/", java_script_enabled=scripts)
    page.get_by_role("link", name="I lost my key").click()
    page.get_by_label("E-mail").fill(BUYER)
    page.get_by_role("button", name="Find my key").click()
    expect(page.get_by_role("heading", name="Look into your mailbox")).to_be_visible()
    send_due(mailer)
    page.goto(page.url.partition("/recover")[0] + re.search(r"/recover/\S+", text_of(mail_server.taken[-1]))[0])
    page.get_by_role("button", name="Show my purchases").click()
    assert verify(page.locator("#key-2").inner_text().strip(), signer.public_key).license_id == machines
    page.get_by_role("button", name=re.compile("Free this seat.*lena-laptop")).click()
    expect(page.get_by_role("heading", name="The seat is free")).to_be_visible()
    assert [machine.deactivated_at is None for machine in load_machines(machines)] == [False, True]
    page.get_by_role("button", name="Receipt").click()
    expect(page.get_by_role("heading", name="Receipt")).to_be_visible()


def test_pages_with_mail(mailer, mail_server, machines, open_page):
    page = open_page("/recover")
    page.fill("#email", BUYER)
    page.get_by_role("button", name="Find my key").click()
    examine(page, "recover-sent")
    send_due(mailer)
    page.goto(page.url + re.search(r"/recover(/\S+)", text_of(mail_server.taken[-1]))[1])
    examine(page, "recover-link")
    page.get_by_role("button", name="Show my purchases").click()
    examine(page, "licenses")
    page.get_by_role("button", name=re.compile("Free this seat.*studio")).click()
    examine(page, "licenses-freed")
    page.get_by_role("button", name="Receipt").click()
    examine(page, "receipt")


def test_pages_of_a_proven_payment(machines, open_page, signer):
    """Found, malformed and wrong, in the language with the longer words. The preimage is never shown again."""
    make_account("lightning", "btcpay", "https://btcpay.example.com")
    [row] = load_licenses()[:1]
    preimage = prove_payment(row.invoice_id)
    page = open_page("/recover?lang=de")
    for typed, name in (
        ("xyzzy", "recover-preimage-wrong"),
        ("0" * 64, "recover-unproven"),
        (preimage, "recover-proven"),
    ):
        page.get_by_label("Kennung des Kaufs").fill(str(row.invoice_id))
        page.get_by_label("Preimage der Zahlung").fill(typed)
        page.get_by_role("button", name="Zahlung beweisen").click()
        examine(page, f"recover-{name}")
        assert typed not in page.content()
    assert verify(page.locator("#key-1").inner_text().strip(), signer.public_key).license_id == row.id
    for status in (400, 404):
        open_page.expect_refusal(status)


def test_pages_without_mail(machines, open_page):
    page = open_page("/recover?lang=de")
    examine(page, "recover-reference")
    page.fill("#email", "nobody")
    page.get_by_role("button", name="Meinen Schlüssel finden").click()
    examine(page, "recover-wrong")
    page.fill("#email", "nobody@example.com")
    page.fill("#reference", "1234")
    page.get_by_role("button", name="Meinen Schlüssel finden").click()
    examine(page, "recover-nothing")
    page.get_by_role("link", name="Ihre Lizenzen").click()
    page.fill("#key", "LIC1-nonsense")
    page.get_by_role("button", name="Lizenz zeigen").click()
    examine(page, "me-unknown")
    for status in (400, 404, 404):
        open_page.expect_refusal(status)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "plain"])
def test_freed_seat_is_taken_by_another_machine(api, open_page, signer, scripts):
    """A buyer's program is refused on a third machine, until a seat is freed on the page."""
    row = make_license("player", max_machines=2)
    key = signer.key_for(row)

    def activate_on(name):
        wanted = {"key": key, "fingerprint": f"the board of {name}", "hostname": name, "platform": "linux"}
        answer = api.post("/v1/machines/activate", wanted).json()
        return answer["ok"], answer.get("reason")

    assert [activate_on(name) for name in ("laptop", "studio")] == [(True, None)] * 2
    assert activate_on("tablet") == (False, "too_many_machines")
    page = open_page("/me", java_script_enabled=scripts)
    page.fill("#key", key)
    page.get_by_role("button", name="Show the license").click()
    expect(page.get_by_role("button", name=re.compile("Free this seat"))).to_have_count(2)
    page.get_by_role("button", name=re.compile("Free this seat.*laptop")).click()
    expect(page.get_by_role("heading", name="The seat is free")).to_be_visible()
    expect(page.get_by_text("Another machine can use it now.")).to_be_visible()
    assert activate_on("tablet") == (True, None)
    assert activate_on("laptop") == (False, "too_many_machines")
    page.goto(page.url)
    page.fill("#key", key)
    page.get_by_role("button", name="Show the license").click()
    expect(page.get_by_role("button", name=re.compile("Free this seat"))).to_have_count(2)
    shown = [item.inner_text().split("\n")[0] for item in page.locator(".seats bdi").all()]
    assert {"studio", "tablet"} <= set(shown)
    assert "laptop" not in shown


@pytest.mark.parametrize("language", ["en", "de"])
def test_buttons_of_both_ways_are_alike(open_page, language):
    """On a phone, the panel around the second one leaves it less room."""
    make_account("lightning", "btcpay", "https://btcpay.example.com")
    page = open_page(f"/recover?lang={language}")
    for width in (320, 360, 1280):
        page.set_viewport_size({"width": width, "height": 740})
        first, second = (button.bounding_box() for button in page.locator(".go button").all())
        assert first["width"] == second["width"], width
