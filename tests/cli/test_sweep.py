"""`keysat sweep`: many invoices in one call."""

from uuid import uuid4

import pytest

from keysat.core.money import Money
from keysat.providers.base import NewInvoice, ProviderStatus
from keysat.providers.registry import provider_for
from tests.builders import PRICE, load_account, make_invoice, make_shop

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake")


def test_sweep_counts_what_it_found_and_lists_orphans(keysat, fake):
    paid = make_invoice()
    make_invoice()
    fake.say(paid.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    stray = provider_for(load_account()).create_invoice(NewInvoice(str(uuid4()), Money(5, "BTC"), "who knows"))
    fake.say(stray.provider_invoice_id, ProviderStatus.SETTLED, paid=5)
    swept = keysat("sweep", "main", "--json")
    found = swept.json
    assert (swept.code, found["seen"], found["changed"], found["adopted"]) == (0, 3, 1, 0)
    assert [orphan["provider_invoice_id"] for orphan in found["orphans"]] == [stray.provider_invoice_id]
    assert stray.provider_invoice_id in keysat("sweep", "main", "--since", "1h").out


def test_unknown_account_and_odd_times_are_refused(keysat):
    assert "no provider account other" in keysat("sweep", "other").refusal
    make_shop()
    assert "must be like 2026-11-25" in keysat("sweep", "main", "--since", "yesterday").refusal
