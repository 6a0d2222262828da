"""`keysat subscription`: renew and cancel by hand."""

import pytest

from keysat.core.db import transaction
from keysat.models import Subscription
from tests.builders import audit_actions, make_license
from tests.renewals import DAY, GRACE, let_end, load_subscription, open_renewal, sell_recurring

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


@pytest.fixture
def sold(fake, signer):
    return sell_recurring(fake, signer)


def listed(keysat, *options):
    return keysat("subscription", "list", *options, "--json").json


def test_subscription_is_listed_by_its_status(keysat, sold):
    [row] = listed(keysat)
    assert (row["license"], row["status"], row["price"], row["days"]) == (str(sold.id), "active", "21,000 sat", 30)
    for ago, status in ((DAY, "past_due"), (GRACE + DAY, "lapsed")):
        let_end(sold, ago)
        assert [row["license"] for row in listed(keysat, "--status", status)] == [str(sold.id)]
        assert listed(keysat, "--status", "active") == []


def test_renewal_is_opened_and_printed(keysat, sold, signer):
    opened = keysat("subscription", "renew", sold.id, "--json").json
    assert opened["id"] == str(open_renewal(sold.id).id)
    assert opened["pay_at"].startswith("http")
    assert opened["page"].endswith(signer.purchase_token(open_renewal(sold.id).id))
    assert keysat("invoice", "show", opened["id"], "--json").json["renews"] == str(sold.id)


def test_subscription_is_cancelled_with_a_note(keysat, sold):
    assert "Missing option '--note'" in keysat("subscription", "cancel", sold.id).usage
    assert "is cancelled" in keysat("subscription", "cancel", sold.id, "--note", "asked by mail").err
    assert "was already cancelled" in keysat("subscription", "cancel", sold.id, "--note", "again").err
    assert load_subscription(sold.id).cancelled
    assert listed(keysat, "--status", "cancelled")[0]["cancelled"]
    assert audit_actions(sold.id)[-1] == "subscription.cancelled"


def test_license_sold_once_or_unknown_is_refused(keysat):
    once = make_license()
    for command in (("renew", once.id), ("cancel", once.id, "--note", "why not")):
        assert "was sold once" in keysat("subscription", *command).refusal
    unknown = "01a21076-4515-7464-8cda-93e2d050f870"
    assert "no license" in keysat("subscription", "renew", unknown).refusal


def test_policy_becomes_recurring_only_with_a_duration(keysat, sold):
    refused = keysat("policy", "add", "editor", "forever", "--recurring").refusal
    assert "needs a duration" in refused
    assert "needs a duration" in keysat("policy", "edit", "editor", "standard", "--days", "0").refusal
    assert keysat("policy", "edit", "editor", "standard", "--no-recurring", "--days", "0").code == 0
    [row] = [row for row in keysat("policy", "list", "--json").json if row["policy"] == "standard"]
    assert (row["recurring"], row["days"]) == (False, None)


def test_subscription_in_a_currency_of_another_version_is_listed(keysat, sold):
    with transaction() as session:
        session.get_one(Subscription, load_subscription(sold.id).id).currency = "XAU"
    assert listed(keysat)[0]["price"].startswith("21,000 of XAU")
    assert "can't charge" in keysat("subscription", "renew", sold.id).refusal
