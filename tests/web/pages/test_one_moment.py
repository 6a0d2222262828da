"""What a page or a poll shows is of one moment, whatever is written between its statements."""

import itertools
import re

import pytest
from sqlalchemy import event

from keysat.core.db import engine, transaction
from keysat.licenses.edit import replace_key
from keysat.licenses.withdraw import withdraw_of_invoice
from keysat.models.license import LicenseStatus
from keysat.operations.why import State
from keysat.settlement.reverse import reverse
from keysat.web.tokens import page_of
from tests.builders import issue_now, load_licenses
from tests.web.pages.conftest import text_of
from tests.web.pages.states import make_purchase

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake_shop", "many_attempts")


class Between:
    """Runs a step after the statement of that number that reads rows, once."""

    def __init__(self, number, step):
        self.has_run, self._left, self._step = False, number, step

    def __enter__(self):
        event.listen(engine(), "after_cursor_execute", self._after)
        return self

    def __exit__(self, *_):
        event.remove(engine(), "after_cursor_execute", self._after)

    def _after(self, _connection, _cursor, statement, *_):
        reads = statement.startswith("EXECUTE") or ("FROM" in statement and not statement.startswith("PREPARE"))
        if self.has_run or not reads:
            return
        self._left -= 1
        if self._left == 0:
            self.has_run = True
            self._step()


def go_back(invoice_id):
    with transaction() as session:
        assert reverse(session, invoice_id, "suspend", "the provider reports invalid", "reconcile")


def at_each_place(ask, prepare):
    """Ask with the reversal after each of the statements in turn. Yields what was answered each time."""
    for number in itertools.count(1):
        invoice_id = prepare()
        with Between(number, lambda invoice_id=invoice_id: go_back(invoice_id)) as between:
            answer = ask(invoice_id)
        if not between.has_run:
            assert number > 2, "no statement was found"
            return
        yield answer


def licensed():
    return make_purchase(State.LICENSED)


def test_page_is_of_one_moment(browser):
    def ask(invoice_id):
        shown = browser.get(page_of(invoice_id))
        return re.search(r'data-state="(\w+)"', shown.text)[1], "Thank you" in text_of(shown)

    assert set(at_each_place(ask, licensed)) <= {("licensed", True), ("reversed", False)}


def test_poll_is_of_one_moment(browser):
    def ask(invoice_id):
        token = page_of(invoice_id).rpartition("/")[2]
        return browser.get(f"/v1/purchase/{token}").json()["state"]

    assert set(at_each_place(ask, licensed)) <= {"licensed", "reversed"}


def test_license_of_a_poll_is_there_once_it_is_licensed(browser, signer):
    """A poll that reads the invoice before the license is issued doesn't say that it is licensed without a key."""

    def ask(invoice_id):
        polled = browser.get(f"/v1/purchase/{page_of(invoice_id).rpartition('/')[2]}").json()
        return polled["state"], polled["license_key"] is not None

    answers = set()
    for number in range(1, 9):
        invoice_id = make_purchase(State.LICENSE_DUE)
        with Between(number, lambda invoice_id=invoice_id: issue_now(invoice_id, signer.key_id)):
            answers.add(ask(invoice_id))
    assert answers <= {("licensed", True), ("license_due", False)}


def test_licenses_are_read_anew_after_a_seat_was_freed(browser, signer):
    invoice_id = licensed()
    (row,) = load_licenses(invoice_id)

    def suspend():
        with transaction() as session:
            withdraw_of_invoice(session, invoice_id, LicenseStatus.SUSPENDED, "cli", "a test")

    form = {"key": signer.key_for(row), "do": "free", "license": str(row.id), "machine": str(row.id)}
    with Between(3, suspend) as between:  # the key, the license, and the key once more as the seat is freed
        words = text_of(browser.post("/me", **form))
    assert (between.has_run, "Suspended" in words) == (True, True), words


def test_replaced_key_never_shows_the_new_one(browser, signer):
    """Its license is found, then its key is replaced, as by a transfer to somebody else."""
    (row,) = load_licenses(licensed())
    key = signer.key_for(row)

    def replace():
        with transaction() as session:
            replace_key(session, row.id, "cli", "a test")

    with Between(1, replace) as between:
        shown = browser.post("/me", key=key)
    assert (between.has_run, shown.status_code) == (True, 404)
    assert "LIC1-" not in shown.text
