"""A trial is free, once for each buyer and product, and the first period that is paid costs the policy's price."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from sqlalchemy import func, select

from keysat.catalog.changes import change_policy
from keysat.codes.manage import NewCode, add_code
from keysat.core.db import reading, transaction
from keysat.core.errors import InvalidInput
from keysat.licenses.keys import parse
from keysat.models import Trial
from keysat.models.discount_code import CodeKind
from keysat.sales.order import Order
from keysat.subscriptions.trial import TrialNeedsBuyer, TrialUsed, one_mailbox
from tests.builders import PRICE, load_invoice, load_licenses, make_account, make_catalog, open_invoice
from tests.renewals import DAY, PERIOD, RECURRING, load_license, load_subscription, open_renewal, pay

pytestmark = pytest.mark.usefixtures("empty_database", "fake")
EMAIL = "buyer@example.com"
MACHINE = bytes(range(32))


@pytest.fixture(autouse=True)
def offered(empty_database):
    make_account()
    for slug in ("editor", "notes"):
        make_catalog(slug, terms=replace(RECURRING, trial_days=14))


def begin(product="editor", email=EMAIL, **facts):
    return load_invoice(open_invoice(Order(product, buyer_email=email, **facts)))


def trials():
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Trial))


def test_trial_is_licensed_at_once_for_nothing(fake, signer):
    invoice = begin()
    assert (invoice.status, invoice.amount, invoice.base_amount, invoice.trial_days) == ("settled", 0, 0, 14)
    [row] = load_licenses(invoice.id)
    assert (row.is_trial, row.expires_at - row.issued_at) == (True, 14 * DAY)
    assert parse(signer.key_for(row)).is_trial
    assert fake.wanted == []
    subscription = load_subscription(row.id)
    assert (subscription.amount, subscription.period_seconds) == (PRICE, PERIOD.total_seconds())


def test_first_paid_period_follows_the_trial_at_the_full_price(fake, signer):
    [row] = load_licenses(begin().id)
    renewal = open_renewal(row.id)
    assert renewal.amount == PRICE
    pay(fake, renewal, signer)
    renewed = load_license(row.id)
    assert (renewed.id, renewed.is_trial, renewed.expires_at) == (row.id, False, row.expires_at + PERIOD)
    assert not parse(signer.key_for(renewed)).is_trial


@pytest.mark.parametrize("again", [EMAIL, "BUYER@Example.com", "buyer+second@example.com"])
def test_mailbox_has_one_trial_of_a_product(again):
    begin()
    with pytest.raises(TrialUsed):
        begin(email=again)
    assert len(load_licenses()) == 1
    begin("notes")
    begin(email="another@example.com")
    assert trials() == 3


def test_machine_has_one_trial_under_any_address():
    begin(email=None, machine=MACHINE)
    with pytest.raises(TrialUsed):
        begin(email="another@example.com", machine=MACHINE)
    begin(email="another@example.com")


def test_trial_of_nobody_is_refused():
    with pytest.raises(TrialNeedsBuyer, match="e-mail address, or the fingerprint"):
        begin(email=None)
    assert load_licenses() == []


def test_buyer_who_had_a_trial_or_wants_none_pays():
    begin()
    invoice = begin(trial=False)
    assert (invoice.status, invoice.amount, invoice.trial_days) == ("pending", PRICE, None)


def test_code_buys_at_once():
    with transaction() as session:
        add_code(session, NewCode("HALF", CodeKind.PERCENT, 5_000), actor="cli")
    invoice = begin(code="half")
    assert (invoice.amount, invoice.trial_days, trials()) == (PRICE // 2, None, 0)


def test_repeated_request_gets_the_same_trial():
    first, second = (begin(idempotency_key="one") for _ in range(2))
    assert (first.id, trials()) == (second.id, 1)


def test_two_requests_at_once_get_one_trial():
    start = Barrier(6)

    def request(_):
        start.wait(timeout=60)
        try:
            return begin().id
        except TrialUsed:
            return None

    with ThreadPoolExecutor(6) as pool:
        got = [found for found in pool.map(request, range(6)) if found is not None]
    assert (len(got), len(load_licenses())) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"trial_days": 31}, "can't be longer than a period"),
        ({"trial_days": -1}, "0 to 1,830 days"),
        ({"is_recurring": False}, "must be recurring"),
    ],
)
def test_trial_that_makes_no_sense_is_refused(changes, why):
    with pytest.raises(InvalidInput, match=why), transaction() as session:
        change_policy(session, "editor", "standard", changes, "cli")


@pytest.mark.parametrize(
    ("spelled", "same"),
    [
        ("A.B.C+tag@GMail.com", "abc@gmail.com"),
        ("abc@googlemail.com", "abc@gmail.com"),
        ("a.b@example.com", "a.b@example.com"),
        ("+tag@example.com", "+tag@example.com"),
        ("b\N{LATIN SMALL LETTER U WITH DIAERESIS}yer@B\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example",
         "b\N{LATIN SMALL LETTER U WITH DIAERESIS}yer@xn--bcher-kva.example"),
    ],
)  # fmt: skip
def test_spellings_of_a_mailbox_are_one(spelled, same):
    assert one_mailbox(spelled) == same
