"""When webhooks are missing: checks found sales that no webhook announced."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func

from keysat.accounts.inbox import store
from keysat.accounts.webhook_health import silent_accounts, webhook_state
from keysat.core.db import reading, transaction
from keysat.core.hints import Hint
from keysat.providers.base import ReceivedEvent
from tests.builders import load_account, make_account, make_invoice, make_shop, set_account, set_columns

pytestmark = pytest.mark.usefixtures("empty_database", "fake")

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def connected(since=30 * HOUR, last_event=2 * HOUR, name="main"):
    """Connect the account's webhooks, and set the time of the last one."""
    make_shop()
    set_account(
        name,
        webhook_connected_at=func.now() - since,
        last_event_at=None if last_event is None else func.now() - last_event,
    )


def sold(count, ago=HOUR, **facts):
    """So many invoices were settled so long ago, one a second."""
    invoices = [make_invoice() for _ in range(count)]
    for number, invoice in enumerate(invoices):
        set_columns(invoice.id, status="settled", settled_at=func.now() - ago - number * SECOND, **facts)
    return invoices


def told_of(invoice):
    """Store a webhook about an invoice, without setting the time of the last one."""
    last = load_account().last_event_at
    with transaction() as session:
        event = ReceivedEvent(f"delivery-{invoice.id}", "InvoiceSettled", invoice.provider_invoice_id)
        store(session, load_account().id, event, b"{}")
    set_account(last_event_at=last)


def alarms():
    with reading() as session:
        return silent_accounts(session)


def test_webhook_health_three_silent_sales():
    """Three sales without a webhook are an alarm with its remedy."""
    connected()
    sold(3)
    [webhooks_missing] = alarms()
    assert (webhooks_missing.account, webhooks_missing.unreported) == ("main", 3)
    last = f"{load_account().last_event_at:%Y-%m-%d %H:%M:%S} UTC"
    assert str(webhooks_missing).startswith(
        f"no webhook of account main arrived since {last}, though 3 of its invoices were paid"
    )
    assert (webhooks_missing.hint, webhooks_missing.facts) == (Hint.RECONNECT_ACCOUNT, {"account": "main"})


def test_webhook_health_never_received():
    """A registered webhook that never arrived is an alarm, even without a sale."""
    connected(since=2 * MINUTE, last_event=None)
    [webhooks_missing] = alarms()
    assert "the webhook of account main is registered since" in str(webhooks_missing)
    assert "and none arrived" in str(webhooks_missing)
    assert webhooks_missing.hint is Hint.RECONNECT_ACCOUNT


@pytest.mark.parametrize(
    "happened",
    [
        lambda: sold(3),
        connected,
        lambda: (connected(), sold(2)),
        lambda: (connected(), sold(3, ago=50 * SECOND)),
        lambda: (connected(last_event=30 * HOUR), sold(3, ago=25 * HOUR)),
        lambda: (connected(), sold(3, ago=3 * HOUR)),
        lambda: (connected(), sold(3, ago=2 * HOUR - 50 * SECOND)),
        lambda: (connected(), sold(3, settled_by_hand=True)),
        lambda: (connected(), sold(2), [told_of(invoice) for invoice in sold(2)]),
        lambda: (connected(), [make_invoice() for _ in range(3)]),
        lambda: connected(since=50 * SECOND, last_event=None),
    ],
    ids=[
        "never connected",
        "no sales",
        "two sales",
        "sales just now",
        "sales of yesterday",
        "sales before the last webhook",
        "sales with the last webhook",
        "settled by hand",
        "told of",
        "unpaid",
        "connected just now",
    ],
)
def test_all_else_is_quiet(happened):
    happened()
    assert alarms() == []


def test_webhook_health_is_per_account():
    connected()
    sold(3)
    make_account("other", store_id="other")
    connected(name="other")
    assert [webhooks_missing.account for webhooks_missing in alarms()] == ["main"]


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({}, "no webhook is connected, so payments are found by scheduled checks alone"),
        ({"webhook_connected_at": 1}, "webhooks are connected since 2026-03-01 12:00:00 UTC, none arrived yet"),
        (
            {"webhook_connected_at": 1, "last_event_at": 2},
            "webhooks are connected since 2026-03-01 12:00:00 UTC, the last one arrived 2026-03-02 12:00:00 UTC",
        ),
    ],
)
def test_state_has_start_and_last_webhook(facts, state):
    make_account()
    set_account(**{"last_error": None, **{name: datetime(2026, 3, day, 12, tzinfo=UTC) for name, day in facts.items()}})
    assert str(webhook_state(load_account())) == state
