"""The end of a license, as its page and its file say it."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from keysat.operations.why import State
from keysat.web.pages.language import Texts
from keysat.web.tokens import page_of
from tests.builders import load_licenses, set_license
from tests.web.pages.conftest import text_of
from tests.web.pages.states import make_purchase

pytestmark = pytest.mark.usefixtures("empty_database", "fake_shop")
END = datetime(2100, 3, 1, 23, 30, tzinfo=UTC)


def licensed(hours):
    invoice_id = make_purchase(State.LICENSED)
    (owned,) = load_licenses(invoice_id)
    set_license(owned.id, issued_at=END - timedelta(hours=hours), expires_at=END)
    return page_of(invoice_id)


@pytest.mark.parametrize(
    ("hours", "language", "end"),
    [
        (6, "en", "1 March 2100, 23:30 UTC"),
        (6, "de", "1. März 2100, 23:30 Uhr UTC"),
        (24 * 365, "en", "1 March 2100"),
    ],
)
def test_short_license_ends_at_a_time(browser, hours, language, end):
    page = licensed(hours)
    name = {"en": "Valid until", "de": "Gültig bis"}[language]
    machines = {"en": "Machines", "de": "Geräte"}[language]
    assert f"{name} {end} {machines}" in text_of(browser.get(f"{page}?lang={language}"))
    assert f"{name}: {end}\n" in browser.get(f"{page}/license.txt?lang={language}").text


def test_times_are_in_utc():
    """Whatever the zone of the database's connection is."""
    there = END.astimezone(timezone(timedelta(hours=5)))
    assert Texts("en").moment(there) == "1 March 2100, 23:30 UTC"
    assert Texts("en").date(there) == "1 March 2100"


def test_file_leads_to_the_page_in_its_language(browser):
    page = licensed(6)
    assert f"{page}?lang=de\n" in browser.get(f"{page}/license.txt?lang=de").text
    assert f"{page}\n" in browser.get(f"{page}/license.txt").text
