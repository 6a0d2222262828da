"""A real Chromium, driven by Playwright, against the pages, a real worker and the sandbox's checkout."""

import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from keysat.core.settings import load_settings
from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox
from tests.builders import SECRET, STORE, load_account, make_account, make_catalog
from tests.stories.conftest import (  # noqa: F401 - fixtures of the worker
    celery_backend_cluster,
    celery_broker,
    celery_setup_app,
    celery_worker,
    worker_arguments,
    worker_environment,
    worker_processes,
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SHOTS = Path(__file__).parents[2] / ".screenshots"
SIZES = {"phone": (360, 740), "desk": (1280, 900)}
SCHEMES = ("light", "dark")
AXE = {("phone", "light"), ("desk", "dark")}  # each size and each scheme once: it takes seconds
# Chromium logs the status of a page that asks for a correction or is gone, too.
EXPECTED = "Failed to load resource: the server responded with a status of 4"


def pytest_collection_modifyitems(items):
    if CHROMIUM is None:
        missing = pytest.mark.skip(reason="there is no Chromium; apt-get install chromium")
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(missing)


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def site(web_url, monkeypatch):
    """Where the pages are. Keysat knows its address, so that buyers return to it."""
    monkeypatch.setenv("KEYSAT_PUBLIC_URL", web_url)
    monkeypatch.setenv("KEYSAT_SELLER_NAME", "Lumen Software")
    monkeypatch.setenv("KEYSAT_SUPPORT_ADDRESS", "help@lumen.example")
    load_settings.cache_clear()
    yield web_url
    monkeypatch.undo()
    load_settings.cache_clear()


def is_complaint(line):
    return line.type in {"error", "warning"} and not line.text.startswith(EXPECTED)


@pytest.fixture
def open_page(chromium, site):
    """Open a page in a window of its own. At the end, none of them has logged an error."""
    contexts, complaints = [], []

    def open_at(path, **options):
        context = chromium.new_context(locale="en-US", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda line: complaints.append(line.text) if is_complaint(line) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path if path.startswith("http") else site + path)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def shop(empty_database, site):
    """One product, sold through the sandbox, whose webhooks arrive. Returns the client of its controls."""
    with Sandbox() as server, SandboxClient(server.url) as client:
        client.url = server.url
        make_account(kind="btcpay", base_url=server.url)
        client.register_store(STORE, "key-of-test-store", f"{site}/v1/btcpay/webhook/{load_account().id}", SECRET)
        make_catalog()
        yield client


def violations(page):
    """What axe finds, as rule and place."""
    found = Axe().run(page).response["violations"]
    return [(rule["id"], node["target"], node.get("failureSummary")) for rule in found for node in rule["nodes"]]


def examine(page, name):
    """Check a page at each size and in each scheme, and take a screenshot of it."""
    SHOTS.mkdir(exist_ok=True)
    for size, (width, height) in SIZES.items():
        for scheme in SCHEMES:
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.screenshot(path=SHOTS / f"{name}-{size}-{scheme}.png", full_page=True)
            if (size, scheme) in AXE:
                assert violations(page) == [], f"{name} at {size}, {scheme}"
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than {size}"
