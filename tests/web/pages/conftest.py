"""A browser without scripts: requests that accept HTML, and what is in the pages."""

import re
from html import unescape

import pytest
import requests

from keysat.core.settings import load_settings
from tests.mail.conftest import mail_on, mail_server, mailer  # noqa: F401 - fixtures of mail

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class Browser:
    """Gets and posts pages. Follows no redirect."""

    def __init__(self, url):
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update(HTML)

    def get(self, path, **options):
        return self.session.get(self.at(path), timeout=120, allow_redirects=False, **options)

    def post(self, path, **fields):
        return self.session.post(self.at(path), data=fields, timeout=120, allow_redirects=False)

    def at(self, path):
        """The address of a path, or of the same path of an address that begins with the configured URL."""
        return self.url + re.sub(r"^https?://[^/]+", "", path)

    def close(self):
        self.session.close()


def text_of(response):
    """The words of a page."""
    body = response.text.split("<body>")[1]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def with_language(path, language):
    """The path or URL of a page in a language."""
    return f"{path}{'&' if '?' in path else '?'}lang={language}"


def title_of(response):
    """The title of the window."""
    return unescape(re.search(r"<title>(.*?)</title>", response.text, re.DOTALL)[1])


def headings_of(response):
    """The words of the headings of the first level."""
    found = re.findall(r"<h1>(.*?)</h1>", response.text, re.DOTALL)
    return [unescape(re.sub(r"<[^>]+>", "", heading)) for heading in found]


def form_key(response):
    """The idempotency key in a form."""
    return re.search(r'name="key" value="([\w-]+)"', response.text)[1]


@pytest.fixture
def browser(web_url):
    client = Browser(web_url)
    yield client
    client.close()


@pytest.fixture
def many_attempts(monkeypatch, servers):
    """Ten attempts a minute are few for a file of tests from one address."""
    monkeypatch.setenv("KEYSAT_RATE_RECOVER", "10000/minute")
    monkeypatch.setenv("KEYSAT_RATE_PURCHASE", "10000/minute")
    load_settings.cache_clear()
    yield
    monkeypatch.undo()
    load_settings.cache_clear()


@pytest.fixture
def buy(browser):
    """Fill in the form of the test's product and send it."""

    def send(product="editor", **fields):
        key = form_key(browser.get(f"/buy/{product}"))
        return browser.post(f"/buy/{product}", **{"key": key, "policy": "standard", "do": "buy", **fields})

    return send
