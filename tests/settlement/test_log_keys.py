"""Each branch of a check logs one event with a name that stays, its ids, and a level by what it changed."""

import pytest
from sqlalchemy import func

from keysat.core.db import transaction
from keysat.core.errors import RemoteUnavailable
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import ProviderStatus
from keysat.settlement.failed_check import AccountNotCallable
from keysat.settlement.resolve import settle_by_hand
from tests.builders import PRICE, check_invoice, make_invoice, set_account
from tests.settlement.test_reconcile import Reacting

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def invoice(fake):
    return make_invoice()


@pytest.fixture
def logged(log_of):
    """The lines that checks log."""
    return log_of("keysat.settlement.reconcile")


def keys(logged):
    return [(line["log_level"], line["event"]) for line in logged]


@pytest.mark.parametrize(
    ("status", "exception", "paid", "level", "event"),
    [
        ("pending", "none", 0, "debug", "invoice checked"),
        ("settled", "none", PRICE, "info", "invoice settled"),
        ("settled", "none", 1, "info", "invoice in review"),
        ("expired", "none", 0, "info", "invoice expired"),
        ("invalid", "none", 0, "info", "invoice invalid"),
    ],
)
def test_outcome_is_logged_with_ids(fake, invoice, logged, status, exception, paid, level, event):
    fake.say(invoice.provider_invoice_id, ProviderStatus(status), PaymentException(exception), paid)
    check_invoice(invoice.id)
    assert keys(logged) == [(level, event)]
    assert (logged[0]["invoice_id"], logged[0]["account"]) == (str(invoice.id), "main")


def test_reversal_is_logged_once(fake, invoice, logged):
    for status in (ProviderStatus.SETTLED, ProviderStatus.REFUNDED, ProviderStatus.REFUNDED):
        fake.say(invoice.provider_invoice_id, status, paid=PRICE)
        check_invoice(invoice.id)
    assert keys(logged) == [("info", "invoice settled"), ("info", "invoice reversed"), ("debug", "no news")]


def test_failed_check_is_a_warning(fake, invoice, logged):
    fake.trouble = RemoteUnavailable("it is down")
    with pytest.raises(RemoteUnavailable):
        check_invoice(invoice.id)
    assert keys(logged) == [("warning", "check failed")]


def test_account_that_rests_is_logged(fake, invoice, logged):
    set_account(paused_at=func.now(), pause_reason="by hand")
    with pytest.raises(AccountNotCallable):
        check_invoice(invoice.id)
    assert keys(logged) == [("debug", "account not callable")]


def test_superseded_outcome_is_logged(fake, invoice, logged, monkeypatch):
    """An invoice that a person settles during its check stays as it is."""

    def settle_meanwhile():
        with transaction() as session:
            settle_by_hand(session, invoice.id, "paid in cash", "cli")

    fake.say(invoice.provider_invoice_id, ProviderStatus.EXPIRED)
    monkeypatch.setattr(fake, "snapshots", Reacting(fake.snapshots, settle_meanwhile))
    check_invoice(invoice.id)
    assert keys(logged) == [("debug", "superseded")]
