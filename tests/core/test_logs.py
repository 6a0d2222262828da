"""Log lines go to stderr, one for each event, in the configured format, without secrets."""

import json
import os
import subprocess
import sys

import pytest

from keysat.core.logs import redact

KEY = "LIC1-AEBAGBAFAYDQQCIK-MFRGGZDFMZTWQ2LK"
URL = "postgresql://keysat:hunter2@db:5432/keysat"

# Logs as a worker does: our own events, bound values, a library's lines, exceptions with secrets in their text.
PROGRAM = f"""
import logging, sys, structlog
from keysat.core.logs import configure_logs, get_logger
from keysat.core.settings import load_settings
configure_logs(load_settings())
log = get_logger("keysat.test")
log.debug("too small to show")
structlog.contextvars.bind_contextvars(task="keysat.reconcile_invoice", invoice_id="an-invoice")
log.info("license issued", license_id="a-license", checks=3, api_key="abc-secret", Webhook_Secret="def-secret")
log.warning("key given out", note="the key is {KEY}.", authorization="token ghi-secret")
structlog.contextvars.clear_contextvars()
log.error("connecting to {URL} failed")
logging.getLogger("library").warning("at %s with %s", "redis://:hunter2@broker/0", "{KEY.lower()}")
logging.getLogger("urllib3").info("chatter")
log.info("umlaut ä, newline \\n and quote \\"")
if sys.argv[1:] == ["exception"]:
    try:
        raise ValueError("no answer from {URL}")
    except ValueError:
        log.exception("it broke")
print("data")
"""


def run(log_format, *arguments, level="INFO"):
    environment = {**os.environ, "KEYSAT_LOG_FORMAT": log_format, "KEYSAT_LOG_LEVEL": level}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def log_text():
    """The lines of the program above, run once with JSON and an exception."""
    return run("json", "exception").stderr


@pytest.fixture(scope="module")
def lines(log_text):
    return [json.loads(line) for line in log_text.splitlines()]


def test_each_json_line_is_an_event_with_its_time_level_and_logger(lines):
    assert [line["event"] for line in lines][:2] == ["license issued", "key given out"]
    for line in lines:
        assert line["timestamp"].endswith("Z")
        assert line["level"] in {"info", "warning", "error"}
        assert line["logger"] in {"keysat.test", "library"}


def test_lines_carry_the_task_and_the_invoice_they_are_about(lines):
    assert {"task": "keysat.reconcile_invoice", "invoice_id": "an-invoice"}.items() <= lines[0].items()
    assert {"license_id": "a-license", "checks": 3}.items() <= lines[0].items()
    assert "invoice_id" not in lines[2]


def test_values_whose_name_says_secret_are_blotted_out(lines):
    assert lines[0]["api_key"] == lines[0]["Webhook_Secret"] == lines[1]["authorization"] == "[redacted]"


def test_redaction_of_keys_and_passwords(lines, log_text):
    """License keys, and passwords in URLs, are redacted at every position."""
    assert lines[1]["note"] == "the key is [redacted]."
    assert lines[2]["event"] == "connecting to postgresql://[redacted]@db:5432/keysat failed"
    assert lines[3]["event"] == "at redis://[redacted]@broker/0 with [redacted]"
    for secret in ("hunter2", KEY, KEY.lower(), "abc-secret", "def-secret", "ghi-secret"):
        assert secret not in log_text


def test_exception_log_without_secrets(lines):
    """The log line has the traceback, and its secrets are redacted."""
    assert lines[-1]["event"] == "it broke"
    assert "Traceback" in lines[-1]["exception"]
    assert "postgresql://[redacted]@db" in lines[-1]["exception"]


def test_any_text_stays_one_json_line(lines):
    assert lines[4]["event"] == 'umlaut ä, newline \n and quote "'


def test_less_important_lines_and_chatty_libraries_are_left_out(log_text):
    assert "too small" not in log_text
    assert "chatter" not in log_text


@pytest.mark.slow
def test_console_lines_are_for_people_and_without_secrets():
    finished = run("console")
    assert finished.stdout == "data\n"
    assert "license issued" in finished.stderr
    assert "an-invoice" in finished.stderr
    for secret in ("hunter2", KEY, "abc-secret", "def-secret", "ghi-secret", "\x1b"):
        assert secret not in finished.stderr


@pytest.mark.slow
def test_exception_on_the_console_shows_no_secrets():
    shown = run("console", "exception").stderr
    assert "it broke" in shown
    for secret in ("hunter2", KEY):
        assert secret not in shown


@pytest.mark.slow
def test_level_decides_what_is_shown():
    shown = run("console", level="ERROR").stderr
    assert "failed" in shown
    assert "license issued" not in shown
    assert "key given out" not in shown


@pytest.mark.parametrize(
    "name",
    ["api_key", "apikey", "API_KEY", "token", "webhook_secret", "db_password", "credentials", "license_key", "bolt11"],
)
def test_secret_is_known_by_its_name(name):
    assert redact(None, "info", {name: "abc"}) == {name: "[redacted]"}
    assert redact(None, "info", {name: b"abc"}) == {name: "[redacted]"}


@pytest.mark.parametrize("name", ["invoice_id", "account", "event", "checks", "reason"])
def test_other_values_stay_as_they_are(name):
    assert redact(None, "info", {name: "abc"}) == {name: "abc"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (URL, "postgresql://[redacted]@db:5432/keysat"),
        ("redis://:pw@h/0 and redis://u:pw2@h/1", "redis://[redacted]@h/0 and redis://[redacted]@h/1"),
        (f"keys {KEY},{KEY.lower()}", "keys [redacted],[redacted]"),
        ("https://pay.example:8080/i/7?x=a@b", "https://pay.example:8080/i/7?x=a@b"),
        ("mail buyer@example.com", "mail buyer@example.com"),
        ("LIC1-...-...", "LIC1-...-..."),
    ],
)
def test_secret_is_recognized_by_its_pattern(text, shown):
    assert redact(None, "info", {"event": text}) == {"event": shown}


@pytest.mark.parametrize(
    "value",
    [ValueError(f"no answer from {URL}"), [f"at {URL}"], {"key": KEY}, {"api_key": "hunter2"}, (URL,)],
    ids=["exception", "list", "dict", "name inside", "tuple"],
)
def test_secret_inside_another_value_is_blotted_out(value):
    shown = str(redact(None, "info", {"value": value})["value"])
    assert "hunter2" not in shown
    assert KEY not in shown
