"""The published client lives its whole life against Keysat, unchanged, over real HTTP."""

from datetime import datetime

import pytest
import requests
from keysat_licensing_client import (
    Client,
    PublicKey,
    RedeemFreeOptions,
    StartPurchaseOptions,
    ValidateOptions,
    Verifier,
)

from keysat.catalog.products import add_policy
from keysat.catalog.terms import Terms
from keysat.codes.manage import NewCode, add_code
from keysat.core.db import transaction
from keysat.licenses.withdraw import change_status
from keysat.models.discount_code import CodeKind
from keysat.models.license import LicenseStatus
from tests.builders import SECRET, STORE, load_account, load_licenses
from tests.renewals import PERIOD, RECURRING

SEATS = 3


@pytest.fixture
def licensing_client(shop, web_url):
    """The client, of a shop that sells a product under two policies, and whose webhooks reach us."""
    with transaction() as session:
        add_policy(
            session, "editor", "team", "Team", Terms(max_machines=SEATS, price_amount=60_000), "For teams", actor="cli"
        )
        add_code(session, NewCode("HALF", CodeKind.PERCENT, 5_000), actor="cli")
        add_code(session, NewCode("FRIEND", CodeKind.FREE_LICENSE, max_uses=1), actor="cli")
    shop.register_store(STORE, "key-of-test-store", f"{web_url}/v1/btcpay/webhook/{load_account().id}", SECRET)
    shop.set_webhooks()
    return Client(web_url)


def test_from_the_list_of_policies_to_a_revoked_license(celery_setup, shop, licensing_client):
    offer = licensing_client.list_public_policies("editor")
    assert (offer.product.slug, offer.product.base_price_sats) == ("editor", 21_000)
    assert [(policy.slug, policy.price_sats, policy.max_machines) for policy in offer.policies] == [
        ("standard", 21_000, 1),
        ("team", 60_000, SEATS),
    ]

    bought = licensing_client.start_purchase(
        "editor", StartPurchaseOptions(buyer_email="buyer@example.com", code="half", policy_slug="team")
    )
    assert (bought.amount_sats, bought.base_price_sats, bought.discount_applied_sats) == (30_000, 60_000, 30_000)
    assert licensing_client.poll_purchase(bought.invoice_id).status == "pending"
    shop.pay(bought.btcpay_invoice_id)
    key = licensing_client.wait_for_license(bought.invoice_id, interval_s=0.05, timeout_s=30)
    assert licensing_client.poll_purchase(bought.invoice_id).status == "settled"

    offline = Verifier(PublicKey.from_pem(licensing_client.fetch_pubkey_pem())).verify(key)
    online = licensing_client.validate(key, product_slug="editor")
    assert online.ok
    assert (str(offline.license_id), str(offline.product_id)) == (online.license_id, online.product_id)
    assert (online.status, online.max_machines, online.machine_id) == ("active", SEATS, None)

    first = licensing_client.validate(
        key, "editor", opts=ValidateOptions(fingerprint="laptop", hostname="lena", platform="linux")
    )
    assert first.ok
    assert first.machine_id
    assert [licensing_client.activate(key, f"desk-{seat}").active_count for seat in (2, 3)] == [2, 3]
    full = licensing_client.activate(key, "one-too-many")
    assert (full.ok, full.reason, full.active_count, full.max_machines) == (False, "too_many_machines", SEATS, SEATS)
    assert licensing_client.validate(key, fingerprint="one-too-many").reason == "too_many_machines"
    assert licensing_client.heartbeat(key, "desk-2").ok
    assert licensing_client.deactivate(key, "desk-3", reason="sold").ok
    assert licensing_client.activate(key, "one-too-many").ok

    gift = licensing_client.redeem_free_license("editor", "friend", RedeemFreeOptions(buyer_note="a friend"))
    assert licensing_client.validate(gift.license_key, "editor", "laptop").ok
    assert licensing_client.validate(gift.license_key, "editor", "desk").reason == "fingerprint_mismatch"
    assert licensing_client.validate(key, product_slug="another").reason == "product_mismatch"

    with transaction() as session:
        change_status(session, load_licenses()[0].id, LicenseStatus.REVOKED, "cli", "the story's end")
    assert licensing_client.validate(key, product_slug="editor").reason == "revoked"
    assert licensing_client.validate(gift.license_key, "editor", "laptop").ok


def test_recurring_license_is_renewed_and_goes_on_validating(celery_setup, shop, licensing_client, web_url):
    """The client has no call to renew. The program, or its user in a browser, asks for that, and the client polls."""
    with transaction() as session:
        add_policy(session, "editor", "yearly", "Yearly", RECURRING, actor="cli")
    offered = next(
        policy for policy in licensing_client.list_public_policies("editor").policies if policy.slug == "yearly"
    )
    assert (offered.is_recurring, offered.renewal_period_days) == (True, PERIOD.days)
    bought = licensing_client.start_purchase("editor", StartPurchaseOptions(policy_slug="yearly"))
    shop.pay(bought.btcpay_invoice_id)
    key = licensing_client.wait_for_license(bought.invoice_id, interval_s=0.05, timeout_s=30)
    first_end = licensing_client.validate(key, "editor").expires_at

    answer = requests.post(f"{web_url}/v1/renew", json={"license_key": key}, timeout=60)
    renewal = answer.json()
    shop.pay(renewal["btcpay_invoice_id"])
    renewed = licensing_client.wait_for_license(renewal["invoice_id"], interval_s=0.05, timeout_s=30)
    verifier = Verifier(PublicKey.from_pem(licensing_client.fetch_pubkey_pem()))
    before, after = verifier.verify(key), verifier.verify(renewed)
    assert str(after.license_id) == str(before.license_id)
    for valid in (key, renewed):
        checked = licensing_client.validate(valid, "editor")
        assert (checked.ok, checked.license_id) == (True, str(before.license_id))
        assert datetime.fromisoformat(checked.expires_at) == datetime.fromisoformat(first_end) + PERIOD
    assert len(load_licenses()) == 1
