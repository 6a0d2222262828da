"""`keysat status` and `doctor`: what is owed, what is broken, and the remedy; exit code 3 asks for a person."""

from datetime import timedelta

import pytest
from sqlalchemy import func

from keysat.errors import RemoteUnavailable
from tests.builders import make_account, make_due, make_invoice, make_shop, set_account

pytestmark = pytest.mark.usefixtures("empty_database", "fake")

NOTHING_OWED = {
    "pending": 0,
    "due": 0,
    "late": 0,
    "oldest_due": None,
    "in_review": 0,
    "settled_without_license": 0,
    "failing": 0,
    "abandoned": 0,
    "silent_webhooks": [],
    "dead_letters": 0,
    "failed_tips": 0,
    "held_tips": 0,
    "breaches": [],
    "accounts": [],
    "processes": {},
}


def test_status_of_an_empty_shop_is_fine(keysat):
    finished = keysat("status", "--json")
    assert (finished.code, finished.json, finished.err) == (0, NOTHING_OWED, "")


def test_status_counts_what_is_owed(keysat):
    make_invoice()
    make_invoice(status="settled", settled_at=func.now())
    make_invoice(status="expired", next_check_at=None)
    finished = keysat("status", "--json")
    wanted = {"pending": 1, "settled_without_license": 1, "abandoned": 1, "in_review": 0}
    assert finished.code == 0
    assert wanted.items() <= finished.json.items()
    assert finished.json["accounts"][0]["name"] == "main"


def test_status_as_text_has_a_line_for_each_number(keysat):
    make_invoice()
    finished = keysat("status")
    lines = dict(line.split(maxsplit=1) for line in finished.out.splitlines() if "\t" not in line)
    assert (finished.code, lines["pending"], lines["processes"]) == (0, "1", "none here")


@pytest.mark.parametrize(
    ("prepare", "remedy"),
    [
        (lambda: make_due(make_invoice().id, timedelta(minutes=5)), "1 invoices are late"),
        (lambda: make_invoice(review_reason="late", review_opened_at=func.now()), "keysat invoice list --review"),
        (
            lambda: (make_shop(), set_account(paused_at=func.now(), pause_reason="key rejected")),
            "`keysat provider test main`, then `keysat provider resume main`",
        ),
        (
            lambda: (
                make_shop(),
                set_account(failure_count=5, last_error="it is down", open_until=func.now() + timedelta(minutes=1)),
            ),
            "account main fails (it is down) and is left alone until",
        ),
    ],
    ids=["late", "review", "paused", "breaker open"],
)
def test_status_exits_with_3_and_tells_the_remedy_when_something_waits_for_a_person(keysat, prepare, remedy):
    prepare()
    for options in ([], ["--json"]):
        finished = keysat("status", *options)
        assert finished.code == 3
        assert remedy in finished.err


def findings(keysat):
    finished = keysat("doctor", "--json")
    return finished.code, {finding["what"]: finding for finding in finished.json}


def test_doctor_finds_everything_fine_but_the_workers_that_do_not_run(keysat):
    make_account()
    code, found = findings(keysat)
    assert code == 3
    assert [what for what, finding in found.items() if not finding["ok"]] == ["workers"]
    assert {"signing key", "credentials key", "database", "schema", "clock", "signer", "provider main", "broker"} < set(
        found
    )
    assert "keysat up" in found["workers"]["detail"]


def test_doctor_as_text_has_a_line_for_each_check(keysat, fake):
    make_account()
    fake.trouble = RemoteUnavailable("the fake provider is down.")
    lines = keysat("doctor").out.splitlines()
    assert any(line.startswith("ok    database: PostgreSQL ") for line in lines)
    assert any(line.startswith("FAIL  workers: ") for line in lines)
    assert "FAIL  provider main: the fake provider is down." in lines


def test_doctor_goes_on_after_what_is_broken_and_says_how_to_mend_it(keysat, fake, settings):
    make_account()
    make_account("other", store_id="other")
    set_account(paused_at=func.now(), pause_reason="by hand")
    settings.signing_key_file.chmod(0o644)
    try:
        code, found = findings(keysat)
    finally:
        settings.signing_key_file.chmod(0o600)
    assert code == 3
    assert "chmod 600" in found["signing key"]["detail"]
    assert "keysat provider resume main" in found["provider main"]["detail"]
    assert "rejected our credentials" in found["provider other"]["detail"]
    assert found["database"]["ok"]
    assert found["broker"]["ok"]
