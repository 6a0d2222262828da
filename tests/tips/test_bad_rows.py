"""A tip that this version can't pay stops no other one, and has the reason that a person sees."""

from contextlib import suppress

import pytest
from sqlalchemy import update

from keysat.core.db import DATABASE, transaction
from keysat.core.secrets import secret_box
from keysat.core.settings import load_settings
from keysat.models import Tip
from keysat.tips.due import claim_tips
from keysat.tips.pay import pay
from tests.builders import load_account, make_account, set_account
from tests.tips.conftest import load_tip, make_due


def set_tip(tip_id, **facts):
    with transaction() as session:
        session.execute(update(Tip).where(Tip.id == tip_id).values(facts))


def recipient_of_another_form(tip_id):
    set_tip(tip_id, recipient="lno1qcp4256ypq")


def impossible_amount(tip_id):
    set_tip(tip_id, amount_msat=2**62)


def of_other_account(tip_id, **facts):
    account = make_account("other", kind="btcpay", base_url=load_account().base_url)
    set_account("other", **facts)
    set_tip(tip_id, provider_account_id=account.id)


def unknown_provider(tip_id):
    of_other_account(tip_id, kind="strike")


def unreadable_credentials(tip_id):
    of_other_account(tip_id, sealed_credentials=b"of another key")


def credentials_in_broken_json(tip_id):
    of_other_account(tip_id, sealed_credentials=secret_box(load_settings()).encrypt(b"{"))


SPOILS = [
    recipient_of_another_form,
    impossible_amount,
    unknown_provider,
    unreadable_credentials,
    credentials_in_broken_json,
]


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
def test_bad_tip_stops_no_other(sandbox, payer, tipped, spoil):
    bad, *good = [tipped() for _ in range(3)]
    spoil(bad)
    make_due()
    with transaction() as session:
        claims = claim_tips(session, 10)
    assert {claim.row_id for claim in claims} == {bad, *good}
    for claim in claims:
        with suppress(Exception):  # as a worker, which goes on after a task that fails
            pay(DATABASE, payer, claim.row_id, actor="tips")
    assert [load_tip(tip_id).status for tip_id in good] == ["sent", "sent"]
    row = load_tip(bad)
    assert row.last_error
    assert (row.status, row.payment_hash) == ("failed" if spoil is impossible_amount else "owed", None)
    assert [payment["paid"] for payment in sandbox.lightning_payments()] == [1, 1]
