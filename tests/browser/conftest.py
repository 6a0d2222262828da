"""A real Chromium, driven by Playwright, against the pages, a real worker and the sandbox's checkout."""

import shutil
from http import HTTPStatus
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from keysat.core.settings import load_settings
from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox
from tests.builders import SECRET, STORE, load_account, make_account, make_catalog
from tests.mail.conftest import mail_on, mail_server, mailer  # noqa: F401 - fixtures of mail
from tests.serving import serving
from tests.stories.conftest import (  # noqa: F401 - fixtures of the worker
    celery_backend_cluster,
    celery_broker,
    celery_setup_app,
    celery_worker,
    worker_arguments,
    worker_environment,
    worker_processes,
)
from tests.web.conftest import api, setting  # noqa: F401 - fixtures of the web server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SHOTS = Path(__file__).parents[2] / ".screenshots"
SIZES = {"phone": (360, 740), "desk": (1280, 900)}
LOOKS = (("phone", "light"), ("desk", "dark"))  # each size and each scheme once: it takes seconds
ONE_LOOK = LOOKS[:1]
# The rules of axe whose result depends on the size or the scheme.
LOOK_RULES = ["color-contrast", "target-size", "scrollable-region-focusable"]
ALL_LOOKS = (*LOOKS, ("phone", "dark"), ("desk", "light"))
SELLER = "Lumen Software"
SECONDS = 180_000


def pytest_collection_modifyitems(items):
    if CHROMIUM is None:
        missing = pytest.mark.skip(reason="there is no Chromium; apt-get install chromium")
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(missing)


@pytest.fixture(scope="package")
def chromium():
    """One browser for all files. It is closed before other tests, as Playwright keeps an event loop running."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def site(web_url, monkeypatch):
    """Where the pages are. Keysat knows its address, so that buyers return to it."""
    monkeypatch.setenv("KEYSAT_PUBLIC_URL", web_url)
    monkeypatch.setenv("KEYSAT_SELLER_NAME", SELLER)
    monkeypatch.setenv("KEYSAT_SUPPORT_ADDRESS", "help@lumen.example")
    load_settings.cache_clear()
    yield web_url
    monkeypatch.undo()
    load_settings.cache_clear()


class Windows:
    """Opens each page in a window of its own, and collects what it logs: errors, warnings, dialogs, refused scripts."""

    def __init__(self, chromium, site):
        self._chromium, self._site = chromium, site
        self._contexts, self._complaints, self._refusals = [], [], []

    def __call__(self, path, status=200, **options):
        """Open a page, which has to have this status."""
        context = self._chromium.new_context(**{"locale": "en-US", **options})
        context.set_default_timeout(SECONDS)  # for each step, on a busy machine
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", lambda line: self._complain(line.text) if line.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self._complain(str(error)))
        page.on("dialog", lambda dialog: [self._complain(f"dialog: {dialog.message}"), dialog.dismiss()])
        self.go(page, path, status)
        return page

    def go(self, page, path, status=200):
        """Go on to another page in the same window."""
        response = page.goto(path if path.startswith("http") else self._site + path)
        assert response.status == status, path
        self.expect_refusal(status)

    def expect_refusal(self, status):
        """Chromium logs the status of a page that asks for a correction or isn't there."""
        if status >= 400:
            phrase = f"{status} ({HTTPStatus(status).phrase})"
            self._refusals.append(f"Failed to load resource: the server responded with a status of {phrase}")

    def close(self):
        for context in self._contexts:
            context.close()
        assert sorted(self._complaints) == sorted(self._refusals)

    def _complain(self, text):
        self._complaints.append(text)


@pytest.fixture
def open_page(chromium, site):
    """Open pages. At the end, none has logged an error but for the statuses that the test expects."""
    windows = Windows(chromium, site)
    yield windows
    windows.close()


@pytest.fixture
def nowhere():
    """A checkout that a browser may be sent to without leaving its page: it has no content. Returns its URL."""

    async def checkout(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    with serving(checkout, lifespan="off") as url:
        yield url


@pytest.fixture
def shop(empty_database, site):
    """One product, sold through the sandbox, whose webhooks arrive. Returns the client of its controls."""
    with Sandbox() as server, SandboxClient(server.url) as client:
        client.url = server.url
        make_account(kind="btcpay", base_url=server.url)
        client.register_store(STORE, "key-of-test-store", f"{site}/v1/btcpay/webhook/{load_account().id}", SECRET)
        make_catalog()
        yield client


MISTAKES = {"en": "Please check what you entered · ", "de": "Bitte prüfen Sie Ihre Eingaben · "}


def assert_is_titled(page, title, language, *, has_mistakes=False):
    """The window and the page's only heading of the first level have this title, in this language.

    The window of a form with mistakes says so first, for those who hear it.
    """
    first = MISTAKES[language] if has_mistakes else ""
    expect(page).to_have_title(f"{first}{title} · {SELLER}", timeout=SECONDS)
    expect(page.locator("h1")).to_have_text([title], timeout=SECONDS)
    expect(page.locator("html")).to_have_attribute("lang", language, timeout=SECONDS)


def violations(page, rules=None):
    """What axe finds, as rule and place, by all rules or by some. Its script takes longer to load than to run."""
    axe = Axe()
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(axe.axe_script)
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    found = page.evaluate("options => axe.run(options)", options)["violations"]
    return [(rule["id"], node["target"], node.get("failureSummary")) for rule in found for node in rule["nodes"]]


def examine(page, name, looks=LOOKS):
    """Check a page at each size and in each scheme, and take a screenshot of it where there is a folder for them."""
    for number, (size, scheme) in enumerate(looks):
        width, height = SIZES[size]
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        if SHOTS.is_dir():
            page.screenshot(path=SHOTS / f"{name}-{size}-{scheme}.png", full_page=True)
        assert violations(page, LOOK_RULES if number else None) == [], f"{name} at {size}, {scheme}"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than {size}"
