"""Webhooks that fall silent are told by status, doctor and the log, each with the remedy."""

import pytest
from sqlalchemy import func

from keysat.tasks import check_invariants
from tests.builders import make_shop, set_account
from tests.providers.test_silence import minutes, settle

pytestmark = pytest.mark.usefixtures("empty_database", "fake")


def test_status_doctor_and_log_say_so_with_the_remedy(keysat, capsys):
    make_shop()
    set_account(last_event_at=minutes(30))
    settle(3, 10)
    status = keysat("status")
    assert status.code == 3
    assert "webhooks of account main don't arrive: 3 invoices settled without one" in status.err
    assert "`keysat provider connect main`" in status.err
    assert keysat("status", "--json").json["silent_webhooks"] == ["main"]
    doctor = keysat("doctor")
    assert doctor.code == 3
    assert "FAIL  webhooks of main: webhooks of account main don't arrive" in doctor.out
    check_invariants.apply(throw=True)
    assert "webhooks of account main don't arrive" in capsys.readouterr().err


def test_nothing_is_said_while_they_arrive(keysat, capsys):
    make_shop()
    set_account(last_event_at=func.now())
    settle(3, 10)
    assert keysat("status").code == 0
    assert "ok    webhooks of main: the last came at" in keysat("doctor").out
    check_invariants.apply(throw=True)
    assert "webhooks" not in capsys.readouterr().err
