"""License files and machine files on the pages: beside the key, and beside each machine."""

import re
from uuid import uuid4

import pytest
from sqlalchemy import func

from keysat.core.db import DATABASE
from keysat.licenses.machines import activate
from keysat.licenses.seats import Caller
from keysat.models.license import LicenseStatus
from keysat.operations.why import State
from keysat.web.state import read_key
from keysat.web.tokens import page_of
from tests.builders import load_licenses, load_machines, make_license, set_license
from tests.examples import load_example
from tests.mail.letters import license_sold
from tests.web.pages.conftest import text_of
from tests.web.pages.scenes import make_purchase

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake_shop", "many_attempts")
EXAMPLE = load_example("check_license_file")


@pytest.fixture
def owned(signer):
    """A bought license that is used on a laptop."""
    invoice_id, _ = license_sold(signer)
    (row,) = load_licenses(invoice_id)
    activate(DATABASE, read_key, signer.key_for(row), Caller.of("laptop", "laptop", "linux"))
    return row


@pytest.fixture
def given(browser, owned, signer):
    """A pass to the license."""
    return re.search(r'name="pass" value="([\w=-]+)"', browser.post("/me", key=signer.key_for(owned)).text)[1]


def test_page_of_a_purchase_has_its_file(browser, signer):
    invoice_id = make_purchase(State.LICENSED)
    shown = browser.get(page_of(invoice_id))
    assert "License file" in text_of(shown)
    link = re.search(r'href="([^"]*/license\.lic)"', shown.text)[1]
    got = browser.get(link)
    assert got.headers["content-disposition"] == 'attachment; filename="license-editor.lic"'
    assert got.headers["cache-control"] == "no-store"
    content = EXAMPLE.read_file(got.text, signer.public_key_pem, "license")
    assert content["data"]["id"] == str(load_licenses(invoice_id)[0].id)


@pytest.mark.parametrize(
    "facts",
    [
        {"status": LicenseStatus.SUSPENDED},
        {"status": LicenseStatus.REVOKED},
        {"transferred_at": func.now()},
        {"issued_at": func.now() - func.make_interval(1), "expires_at": func.now()},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_license_that_is_not_valid_has_no_file(browser, facts):
    invoice_id = make_purchase(State.LICENSED)
    set_license(load_licenses(invoice_id)[0].id, **facts)
    assert "license.lic" not in browser.get(page_of(invoice_id)).text
    assert browser.get(page_of(invoice_id) + "/license.lic").status_code == 404


def test_wrong_secret_and_unpaid_purchase_have_no_file(browser):
    waiting = page_of(make_purchase(State.WAITING))
    right = page_of(make_purchase(State.LICENSED))
    for path in (waiting, right[:-1], f"/p/{uuid4()}"):
        assert browser.get(f"{path}/license.lic").status_code == 404


def test_holder_gets_the_files_of_a_license_and_of_a_machine(browser, owned, given, signer):
    shown = browser.post("/me", **{"pass": given})
    assert all(words in text_of(shown) for words in ("License file", "Machine file : laptop"))
    got = browser.post("/me/file", **{"pass": given, "license": owned.id})
    assert got.headers["content-disposition"] == 'attachment; filename="license-editor.lic"'
    EXAMPLE.read_file(got.text, signer.public_key_pem, "license")
    (machine,) = load_machines(owned.id)
    got = browser.post("/me/file", **{"pass": given, "license": owned.id, "machine": machine.id})
    assert got.headers["content-disposition"] == 'attachment; filename="machine-editor.lic"'
    EXAMPLE.read_file(got.text, signer.public_key_pem, "machine", fingerprint="laptop")


def test_pass_opens_no_file_of_others(browser, owned, given, signer):
    other = make_license("player")
    activate(DATABASE, read_key, signer.key_for(other), Caller.of("desk"))
    (machine,) = load_machines(other.id)
    for fields in (
        {"license": other.id},
        {"license": owned.id, "machine": machine.id},
        {"license": owned.id, "machine": "nonsense"},
        {"license": owned.id, "machine": uuid4()},
        {},
    ):
        assert browser.post("/me/file", **{"pass": given, **fields}).status_code == 404
    for wrong in ({}, {"pass": "nonsense"}):
        assert "This page is too old" in text_of(browser.post("/me/file", license=owned.id, **wrong))


def test_license_that_is_not_valid_is_shown_without_files(browser, owned, given):
    set_license(owned.id, status=LicenseStatus.SUSPENDED)
    assert "/me/file" not in browser.post("/me", **{"pass": given}).text
    assert browser.post("/me/file", **{"pass": given, "license": owned.id}).status_code == 404
