"""No response builds an address from the host that a request names."""

import re

import pytest

from keysat.operations.why import State
from keysat.web.app import create_app
from keysat.web.tokens import page_of
from tests.web.described import FILLED_IN, NOWHERE
from tests.web.pages.conftest import HTML
from tests.web.pages.states import make_purchase
from tests.web.test_roles import routes

EVIL = "evil.example"


@pytest.mark.usefixtures("empty_database", "fake_shop")
@pytest.mark.parametrize("kind", [HTML["Accept"], "application/json"])
def test_no_response_repeats_the_host(api, kind):
    """A path with a slash too many may hold a secret, and would go to that host by a redirect."""
    known = {**FILLED_IN, "secret": page_of(make_purchase(State.WAITING)).rpartition("/")[2], "product": "editor"}
    names = {"Host": EVIL, "X-Forwarded-Host": EVIL, "Forwarded": f"host={EVIL}", "Accept": kind}
    for method, pattern in [*routes(create_app()), ("GET", "/nothing")]:
        path = re.sub(r"\{(\w+)\}", lambda name: known.get(name[1], NOWHERE), pattern)
        for address in (path, path + "/"):
            response = api.session.request(method, api.url + address, headers=names, allow_redirects=False, timeout=120)
            assert EVIL not in response.text + str(response.headers), f"{method} {address}"
