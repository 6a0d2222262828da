"""Whatever is in the query of a page, the response is a page."""

from uuid import UUID, uuid4

import pytest

from keysat.operations.why import State
from keysat.web.tokens import page_of
from tests.web.described import NOWHERE
from tests.web.pages.conftest import form_key, text_of
from tests.web.pages.states import make_purchase

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")
NAMES = ("lang", "policy", "email", "code", "again", "key", "do", "none")
RUBBISH = {
    "nothing": "",
    "nul": "%00",
    "long": "a" * 8_000,
    "surrogate": "%ED%A0%80",
    "no UTF-8": "%FF%FE",
    "no UUID": "x.y",
    "no secret": f"{uuid4()}",
    "wrong secret": f"{uuid4()}.AAAA",
    "other digits": NOWHERE.translate({ord(str(digit)): chr(0x660 + digit) for digit in range(10)}) + ".%F0%9F%92%A9",
    "control": "%1B%5B31m%0D%0AX-Evil:%201",
    "format": "%7B0%7D%7B%7B7*7%7D%7D%25s",
}


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
def test_query_is_never_a_crash(browser, rubbish):
    page = page_of(make_purchase(State.LICENSED))
    every = "&".join(f"{name}={rubbish}" for name in NAMES)
    paths = ["/", "/buy", "/buy/editor", page, f"{page}/pay", f"{page}/license.txt", "/p/nothing"]
    queries = [f"{path}?{every}" for path in paths]
    queries += [f"/buy/editor?{name}={rubbish}&{name}={rubbish}" for name in NAMES]
    for query in queries:
        shown = browser.get(query)
        assert shown.status_code in {200, 303, 400, 404}, query
        assert "x-evil" not in shown.headers


def test_deleted_purchase_is_made_again_by_nobody(browser):
    """Its secret is right, as it is made from the id."""
    secret = page_of(UUID(NOWHERE)).rpartition("/")[2]
    shown = browser.get(f"/buy/editor?again={secret}")
    assert shown.status_code == 404
    assert "Page not found" in text_of(shown)


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
def test_sent_rubbish_is_never_a_crash(browser, rubbish):
    key = form_key(browser.get("/buy/editor"))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for name in NAMES:
        body = f"key={key}&policy=standard&do=apply&{name}={rubbish}"
        sent = browser.session.post(
            browser.at("/buy/editor"), data=body, headers=form, timeout=60, allow_redirects=False
        )
        assert sent.status_code in {200, 400}, name
