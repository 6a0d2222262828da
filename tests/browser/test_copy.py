"""The button that copies the key, where the browser doesn't let it."""

import pytest
from playwright.sync_api import expect

from keysat.operations.why import State
from keysat.web.tokens import page_of
from tests.builders import make_license
from tests.web.pages.states import make_purchase

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")
REFUSED = "navigator.clipboard.writeText = () => Promise.reject(new DOMException('no', 'NotAllowedError'))"
MISSING = "Object.defineProperty(navigator, 'clipboard', { value: undefined })"


@pytest.mark.parametrize("clipboard", [REFUSED, MISSING], ids=["refused", "missing"])
def test_key_is_selected_where_it_cannot_be_copied(open_page, clipboard):
    page = open_page(page_of(make_purchase(State.LICENSED)))
    copy_in_vain(page, clipboard, "#key")


def test_key_of_a_holder_is_selected_where_it_cannot_be_copied(open_page, signer):
    page = open_page("/me")
    page.fill("#key", signer.key_for(make_license("player")))
    page.get_by_role("button", name="Show the license").click()
    copy_in_vain(page, REFUSED, "#key-1")


def copy_in_vain(page, clipboard, key):
    page.evaluate(f"() => {{ {clipboard} }}")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Not copied: press Ctrl+C")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Not copied: press Ctrl+C")
    assert page.evaluate("getSelection().toString().trim()") == page.locator(key).inner_text()
