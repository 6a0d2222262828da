"""Webhooks arrive: a license within moments. They arrive doubled, shuffled and forged: the same, once."""

import time
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from keysat.accounts.inbox import MAX_CHECKS_A_MINUTE
from keysat.core.db import reading, transaction
from keysat.models import ProviderEvent
from keysat.tasks.tasks import scan_pending
from tests.builders import SECRET, STORE, load_account, load_invoice, load_licenses, make_invoice
from tests.nodes import wait_until
from tests.webhooks.replay import SENDERS, WAYS, await_quiet, badly, deliver, outcome, play

pytestmark = pytest.mark.usefixtures("celery_setup")

CONCURRENCY = 2  # of the stories' worker
INVOICES = 2 * len(WAYS)
MANY = 300


@pytest.fixture
def connected_shop(shop, web_url):
    """The shop, its webhooks sent to us."""
    url = f"{web_url}/v1/btcpay/webhook/{load_account().id}"
    shop.register_store(STORE, "key-of-test-store", url, SECRET)
    shop.set_webhooks()
    return shop


def test_paid_invoice_is_licensed_by_its_webhook_without_any_scan(celery_setup, connected_shop):
    invoice = make_invoice()
    connected_shop.pay(invoice.provider_invoice_id)
    wait_until(lambda: load_licenses(invoice.id))
    assert load_invoice(invoice.id).check_count == 0, "no scan has claimed it"


def test_webhooks_shuffled_and_forged(celery_setup, shop, web_url):
    """Shuffled webhooks, each sent five times, and forged ones, have the effect of one ordered delivery."""
    in_order = play(shop, shop.url, "in-order", INVOICES)
    assert deliver(web_url, "in-order", in_order) == {200: len(in_order)}
    await_quiet()
    bad = badly(play(shop, shop.url, "badly", INVOICES))
    answers = deliver(web_url, "badly", bad, SENDERS)
    await_quiet()
    assert answers == {200: len(bad) - answers[401], 401: answers[401]}
    assert answers[401] > len(bad) // 12
    assert outcome("badly") == outcome("in-order")
    assert {row[0] for row in outcome("badly")} == {"pending", "expired", "invalid", "settled"}
    assert {row[4] for row in outcome("badly")} == {0, 1}


def test_webhook_many_replays(celery_setup, shop, web_url):
    """Hundreds of replays of one event have one effect and cause one check."""
    first, *_ = play(shop, shop.url, "replayed", 1)
    before = shop.requests_made()["total"]
    assert deliver(web_url, "replayed", [first] * MANY, SENDERS) == {200: MANY}
    await_quiet()
    assert len(load_licenses()) == 1
    assert shop.requests_made()["by_route"]["GET invoice"] == 1
    assert shop.requests_made()["total"] - before <= 2
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(ProviderEvent)) == 1


def test_webhook_flood_check_limit(celery_setup, shop, web_url, empty_broker):
    """Hundreds of genuine events about one invoice cause at most ten checks a minute."""
    began = time.monotonic()
    first, *_ = play(shop, shop.url, "flooded", 1)
    flood = [first.under_a_new_id() for _ in range(MANY)]
    assert deliver(web_url, "flooded", flood, SENDERS) == {200: MANY}
    wait_until(lambda: len(load_licenses()) == 1)
    wait_until(lambda: empty_broker.llen("issue") == 0)
    assert shop.requests_made()["by_route"]["GET invoice"] <= _minutes(began) * MAX_CHECKS_A_MINUTE + CONCURRENCY
    let_a_minute_pass()
    scan_pending.delay()
    await_quiet()
    allowed = (1 + _minutes(began)) * MAX_CHECKS_A_MINUTE + 2 * CONCURRENCY
    assert shop.requests_made()["by_route"]["GET invoice"] <= allowed


def _minutes(began):
    """How many minutes have begun since."""
    return 1 + int(time.monotonic() - began) // 60


def let_a_minute_pass():
    events, minute = ProviderEvent, timedelta(minutes=1)
    with transaction() as session:
        handled, waiting = events.handled_at.is_not(None), events.handled_at.is_(None)
        session.execute(update(events).where(handled).values(looked_at=events.looked_at - minute))
        session.execute(update(events).where(waiting).values(next_attempt_at=func.now()))
