"""What a provider refuses of one purchase is no reason to stop asking about all the others."""

import pytest

from keysat.core.errors import CredentialsRejected, RemoteError, RemoteRefused, RemoteUnavailable
from keysat.invoices.draft import IN_PROGRESS
from keysat.models import Invoice
from keysat.models.provider_account import FAILURES_TO_OPEN
from keysat.sales.purchase import Order
from tests.builders import (
    STORE,
    check_invoice,
    load_account,
    load_invoice,
    make_invoice,
    open_invoice,
    set_account,
    set_columns,
)

pytestmark = pytest.mark.usefixtures("empty_database")

INVOICES = f"/api/v1/stores/{STORE}/invoices"


def refuse(shop, status, method="POST"):
    shop.set_faults([{"kind": "status", "status": status, "method": method, "path_prefix": INVOICES}])


def test_one_purchase_that_is_forbidden_does_not_pause_the_account(shop):
    refuse(shop, 403)
    with pytest.raises(CredentialsRejected):
        open_invoice(Order("editor", redirect_url="https://example.com/?q=<script>"))
    assert load_account().paused_at is None


def test_credentials_that_are_rejected_for_reading_too_pause_it(shop):
    shop.set_faults([{"kind": "status", "status": 403}])
    with pytest.raises(CredentialsRejected):
        open_invoice(Order("editor"))
    assert load_account().paused_at is not None


def test_refused_purchases_do_not_open_the_breaker(shop):
    paid = make_invoice()
    shop.pay(paid.provider_invoice_id)
    refuse(shop, 422)
    for _ in range(FAILURES_TO_OPEN + 1):
        with pytest.raises(RemoteRefused):
            open_invoice(Order("editor"))
    assert (load_account().failure_count, load_account().open_until) == (0, None)
    assert check_invoice(paid.id).license_due


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_lookup_that_is_refused_leaves_the_draft_as_it_was(shop, status):
    """The invoice may already exist: only a refusal to create it proves that there is none."""
    keyed = Order("editor", idempotency_key="purchase:1")
    shop.set_faults([{"kind": "cut", "method": "POST", "times": 1}])
    with pytest.raises(RemoteUnavailable):
        open_invoice(keyed)
    (theirs,) = shop.ledger()["invoices"]
    draft_id = theirs["order_id"]
    set_columns(draft_id, asked_at=Invoice.asked_at - IN_PROGRESS)
    refuse(shop, status, "GET")
    with pytest.raises(RemoteError):
        open_invoice(keyed)
    shop.set_faults([])
    set_columns(draft_id, asked_at=Invoice.asked_at - IN_PROGRESS)
    set_account(paused_at=None, pause_reason=None, recheck_at=None)
    assert load_invoice(draft_id).status == "pending"
    assert str(open_invoice(keyed)) == draft_id
    assert len(shop.ledger()["invoices"]) == 1
