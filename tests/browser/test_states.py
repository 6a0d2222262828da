"""Every page and every state in a real browser: accessible, within the screen, in light and dark, without errors."""

import pytest

from keysat.operations.why import State
from keysat.web.tokens import page_of
from tests.browser.conftest import ONE_LOOK, SIZES, assert_is_titled, examine
from tests.web.pages.conftest import with_language
from tests.web.pages.scenes import SCENES
from tests.web.pages.states import make_purchase
from tests.web.pages.titles import TITLES

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake_shop")


def examine_german(page, open_page, path, status, title, **options):
    """Check a page in the language with the longer words."""
    width, height = SIZES["phone"]
    page.set_viewport_size({"width": width, "height": height})
    open_page.go(page, with_language(path, "de"), status)
    assert_is_titled(page, title, "de", **options)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", SCENES)
def test_page(open_page, setting, nowhere, name):
    scene = SCENES[name]
    setting(**scene.variables)
    path = scene.prepare(f"{nowhere}/i/1")
    if scene.status == 429:
        open_page(path, 400)
    page = open_page(path, scene.status)
    has_mistakes = scene.status == 400
    assert_is_titled(page, scene.titles["en"], "en", has_mistakes=has_mistakes)
    examine(page, name)
    examine_german(page, open_page, path, scene.status, scene.titles["de"], has_mistakes=has_mistakes)


def test_form_with_errors(open_page):
    path = "/buy/editor?lang=de"
    page = open_page(path)
    page.fill("#email", "nobody")
    page.fill("#code", "WINTER")
    with page.expect_response("**/buy/editor?lang=de&sent=1") as answer:
        page.click("button[value=buy]")
    assert answer.value.status == 400
    open_page.expect_refusal(400)
    assert_is_titled(page, "Editor kaufen", "de", has_mistakes=True)
    examine(page, "buy-typed")


@pytest.mark.parametrize("state", State)
def test_state(open_page, state):
    path = page_of(make_purchase(state))
    page = open_page(path)
    assert_is_titled(page, TITLES[state]["en"], "en")
    examine(page, f"purchase-{state}", ONE_LOOK)  # the scenes have the same page in the other scheme
    examine_german(page, open_page, path, 200, TITLES[state]["de"])
