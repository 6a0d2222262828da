"""The API over real HTTP: uvicorn in a thread of the run, and a client that validates every error."""

import pytest
import requests

from keysat.core.db import transaction
from keysat.core.settings import load_settings
from keysat.models.api_key import Scope
from keysat.operations.api_keys import create_key
from keysat.web.pages.assets import _content
from tests.builders import make_shop
from tests.canaries import GIVEN, leaks
from tests.serving import serving_with

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "bad_request",
    408: "bad_request",
    409: "conflict",
    413: "bad_request",
    429: "rate_limited",
    502: "upstream_error",
    503: "service_unavailable",
}


class Api:
    """A client of the API."""

    def __init__(self, url):
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def call(self, method, path, **options):
        """Make a request. Every error must have the contract's shape."""
        response = self.session.request(method, self.url + path, timeout=120, **options)
        if response.status_code >= 400:
            problem = response.json()
            assert set(problem) == {"ok", "error", "message"}, problem
            assert problem["ok"] is False
            assert problem["error"] == CODES[response.status_code], problem
            assert problem["message"].endswith("."), problem
            assert "Traceback" not in problem["message"]
            assert leaks(response.text, GIVEN) == set()
        return response

    def get(self, path, **options):
        return self.call("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.call("POST", path, json=body, **options) if body is not None else self.call("POST", path, **options)

    def close(self):
        self.session.close()


@pytest.fixture(scope="session")
def web_url(servers):
    """Where the API is served for the run."""
    with serving_with() as url:
        yield url


@pytest.fixture
def api(web_url):
    """A client of the API."""
    client = Api(web_url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def module_api(web_url):
    """A client of the API, for tests of many small cases."""
    client = Api(web_url)
    yield client
    client.close()


@pytest.fixture
def setting(monkeypatch):
    """Set variables of the web server, which runs in this process."""

    def change(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        load_settings.cache_clear()
        _content.cache_clear()

    yield change
    monkeypatch.undo()
    load_settings.cache_clear()
    _content.cache_clear()


@pytest.fixture
def scope_headers(empty_database, fake):
    """A shop with an API key for each scope. Returns the keys' headers by scope."""
    make_shop()
    with transaction() as session:
        return {scope: {"Authorization": f"Bearer {create_key(session, scope, scope, actor='cli')}"} for scope in Scope}
