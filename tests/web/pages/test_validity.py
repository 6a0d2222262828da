"""Every page is valid HTML, in each language."""

import pytest

from keysat.core.errors import Conflict, RemoteUnavailable
from keysat.operations.why import State
from keysat.web.pages.language import LANGUAGES
from keysat.web.tokens import page_of
from tests.markup import faults
from tests.web.pages.conftest import headings_of, with_language
from tests.web.pages.scenes import SCENES
from tests.web.pages.states import make_purchase

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake_shop")


@pytest.fixture
def seller(setting, tmp_path):
    """A seller with all that pages show of one."""
    logo = tmp_path / "logo.svg"
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg"></svg>')
    setting(KEYSAT_SELLER_NAME="Bits & Bytes", KEYSAT_SELLER_LOGO=str(logo), KEYSAT_SUPPORT_ADDRESS="help@example.com")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", SCENES)
def test_page_is_valid(browser, seller, setting, name, language):
    scene = SCENES[name]
    setting(**scene.variables)
    path = with_language(scene.prepare("https://pay.example.com/i/1?a=1&b=2"), language)
    shown = browser.get(path)
    if scene.status == 429:
        shown = browser.get(path)
    assert (shown.status_code, headings_of(shown)) == (scene.status, [scene.titles[language]])
    assert faults(shown.text) == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("trouble", "status"),
    [(RemoteUnavailable("it is down."), 503), (Conflict("it is taken."), 409)],
    ids=["503", "409"],
)
def test_form_after_trouble_is_valid(browser, buy, fake_shop, trouble, status, language):
    fake_shop.trouble = trouble
    shown = buy(f"editor?lang={language}", email="buyer@example.com", code="", policy="standard")
    assert shown.status_code == status
    assert faults(shown.text) == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("state", State)
def test_purchase_is_valid(browser, seller, state, language):
    assert faults(browser.get(with_language(page_of(make_purchase(state)), language)).text) == []


def test_reference_is_valid(browser):
    assert faults(browser.get("/docs").text) == []
