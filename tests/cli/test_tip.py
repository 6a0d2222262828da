"""`keysat tip`: what goes to Lightning Addresses."""

import pytest
from sqlalchemy import func, update

from keysat.core.db import transaction
from keysat.models import Tip
from tests.builders import issue_now, make_account, make_catalog, make_invoice

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


@pytest.fixture
def tip(keysat, signer):
    make_account()
    make_catalog()
    keysat("policy", "edit", "editor", "standard", "--tip-recipient", "dev@example.com", "--tip-bps", "500")
    invoice = make_invoice(status="settled", settled_at=func.now())
    issue_now(invoice.id, signer.key_id)
    [row] = keysat("tip", "list", "--json").json
    return row


def test_tip_is_listed_and_shown(keysat, tip):
    assert (tip["status"], tip["recipient"], tip["sats"]) == ("owed", "dev@example.com", 1_050)
    assert keysat("tip", "show", tip["id"], "--json").json["attempts"] == 0
    assert keysat("tip", "list", "--status", "failed", "--json").json == []


def test_failed_tip_is_retried(keysat, tip):
    assert "is tried anyway" in keysat("tip", "retry", tip["id"]).refusal
    with transaction() as session:
        session.execute(update(Tip).values(status="failed", next_attempt_at=None, ended_at=func.now()))
    assert keysat("tip", "retry", tip["id"]).code == 0
    assert keysat("tip", "show", tip["id"], "--json").json["status"] == "owed"


def test_tip_of_a_policy_is_taken_back_or_refused(keysat, tip):
    assert keysat("policy", "edit", "editor", "standard", "--tip-recipient", "").code == 0
    edit = ["policy", "edit", "editor", "standard", "--tip-bps", "5"]
    assert "must look like dev@example.com" in keysat(*edit, "--tip-recipient", "dev@127.0.0.1").refusal
    assert "needs both" in keysat(*edit).refusal
    assert keysat("tip", "show", "01a21076-4515-7464-8cda-93e2d050f870").refusal.startswith("no tip")
