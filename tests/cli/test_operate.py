"""`keysat status` and `doctor`: what is pending, what is broken, and the remedy. Exit code 3 needs a person."""

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from sqlalchemy import func

from keysat import __version__, migrations
from keysat.cli.doctor_host import Broken, backups, public_url, seller
from keysat.core.errors import RemoteUnavailable
from tests.builders import make_account, make_due, make_invoice, make_shop, set_account

pytestmark = pytest.mark.usefixtures("empty_database", "nothing_noticed", "fake")

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
    status = finished.json
    versions = status.pop("versions")
    assert (finished.code, status, finished.err) == (0, NOTHING_OWED, "")
    assert (versions["keysat"], versions["schema"]) == (__version__, migrations.head())


def test_status_counts_what_is_due(keysat):
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
            "`keysat provider resume main` when it may be called again",
        ),
        (
            lambda: (
                make_shop(),
                set_account(failure_count=5, last_error="it is down", open_until=func.now() + timedelta(minutes=1)),
            ),
            "account main fails (it is down) and isn't called until",
        ),
    ],
    ids=["late", "review", "paused", "breaker open"],
)
def test_status_exit_code_with_review(keysat, prepare, remedy):
    """Status exits with 3 and names the remedy if something waits for a person."""
    prepare()
    for options in ([], ["--json"]):
        finished = keysat("status", *options)
        assert finished.code == 3
        assert remedy in finished.err


def findings(keysat):
    finished = keysat("doctor", "--json")
    return finished.code, {finding["what"]: finding for finding in finished.json}


def test_doctor_without_workers(keysat):
    """Doctor reports only beat, the workers and the web server, which don't run."""
    make_account()
    code, found = findings(keysat)
    assert code == 3
    assert [what for what, finding in found.items() if not finding["ok"]] == ["beat", "workers", "web"]
    assert {"signing key", "credentials key", "database", "schema", "clock", "signer", "provider main", "broker"} < set(
        found
    )
    assert "keysat up" in found["workers"]["detail"]
    assert "keysat up" in found["beat"]["detail"]


def test_doctor_goes_on_past_an_unknown_kind(keysat):
    """An account that a newer version stored is a finding, and the checks after it still run."""
    make_account()
    set_account(kind="unknown")
    code, found = findings(keysat)
    assert code == 3
    assert not found["provider main"]["ok"]
    assert not found["webhooks of main"]["ok"]
    assert "unknown" in found["webhooks of main"]["detail"]
    assert found["disk"]["ok"]


def test_doctor_complains_of_all_that_status_complains_of(keysat):
    make_due(make_invoice().id, timedelta(minutes=5))
    make_invoice(review_reason="late", review_opened_at=func.now())
    complaints = keysat("status").err.splitlines()
    assert len(complaints) >= 2
    finished = keysat("doctor", "--json")
    found = [finding["detail"] for finding in finished.json if finding["what"] == "status" and not finding["ok"]]
    assert (finished.code, found) == (3, complaints)


def test_doctor_sees_the_age_of_the_newest_backup(settings, tmp_path):
    watched = settings.model_copy(update={"backup_dir": tmp_path})
    with pytest.raises(Broken, match="holds no file"):
        backups(watched)
    dump = tmp_path / "keysat.dump"
    dump.touch()
    assert backups(watched) == "the newest is 0 hours old"
    days_ago = dump.stat().st_mtime - 5 * 86_400
    os.utime(dump, (days_ago, days_ago))
    with pytest.raises(Broken, match="5 days old"):
        backups(watched)


@pytest.mark.parametrize(("url", "fine"), [("https://a.example", True), ("http://a.example", False), ("", True)])
def test_doctor_asks_for_tls_where_buyers_reach_us(settings, url, fine):
    public = settings.model_copy(update={"public_url": url})
    if fine:
        assert public_url(public)
    else:
        with pytest.raises(Broken, match="not encrypted"):
            public_url(public)


@pytest.mark.parametrize("name", ["status", "doctor"])
def test_database_that_is_down_is_a_sentence_and_exit_code_3(name, tmp_path):
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "KEYSAT_DATA_DIR": str(tmp_path)}
    finished = subprocess.run(
        [sys.executable, "-m", "keysat", name],
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 3
    assert "can't be reached" in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stdout + finished.stderr


def test_doctor_as_text_has_a_line_for_each_check(keysat, fake):
    make_account()
    fake.trouble = RemoteUnavailable("the fake provider is down.")
    lines = keysat("doctor").out.splitlines()
    assert any(line.startswith("ok    database: PostgreSQL ") for line in lines)
    assert any(line.startswith("FAIL  workers: ") for line in lines)
    assert "FAIL  provider main: the fake provider is down." in lines


def test_doctor_continues_after_failure(keysat, fake, settings):
    """Doctor runs all checks and names the remedy of each failure."""
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


def test_doctor_names_what_buyers_miss(settings):
    nameless = settings.model_copy(update={"public_url": "https://license.shop.example"})
    assert seller(nameless) == (
        "license.shop.example, the host of the public URL; KEYSAT_SELLER_NAME names you; "
        "buyers find no address to write to; KEYSAT_SUPPORT_ADDRESS names one"
    )
    named = settings.model_copy(update={"seller_name": "Lumen", "support_address": "help@lumen.example"})
    assert seller(named) == "Lumen; help@lumen.example"
