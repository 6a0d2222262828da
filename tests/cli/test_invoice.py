"""`keysat invoice`: opening, finding, explaining and deciding, and why a buyer has no license."""

from datetime import timedelta

import pytest
from sqlalchemy import func

from keysat.accounts.inbox import store
from keysat.core.db import transaction
from keysat.core.errors import RemoteUnavailable
from keysat.licenses.keys import verify
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import ProviderStatus, ReceivedEvent
from tests.builders import (
    PRICE,
    check_invoice,
    issue_now,
    load_account,
    load_invoice,
    load_licenses,
    make_catalog,
    make_invoice,
    make_shop,
    set_account,
    set_columns,
)

SETTLED = {"status": "settled", "settled_at": func.now()}

pytestmark = pytest.mark.usefixtures("empty_database")


@pytest.fixture
def invoice(fake):
    return make_invoice()


def why(keysat, invoice):
    finished = keysat("invoice", "show", invoice.id, "--json")
    assert finished.code == 0
    return finished.json["why"]


def pay(fake, invoice, exception=PaymentException.NONE, paid=PRICE):
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, exception, paid)


def test_opened_invoice_shows_where_to_pay(keysat, fake):
    make_shop()
    finished = keysat("invoice", "open", "editor", "--email", "a@example.com", "--note", "VIP", "--json")
    row = load_invoice(finished.json["id"])
    assert finished.json == {
        "id": str(row.id),
        "price": "21,000 sat",
        "pay_at": row.checkout_url,
        "pay_until": row.expires_at.isoformat(),
        "provider_invoice_id": row.provider_invoice_id,
    }
    assert (row.buyer_email, row.buyer_note) == ("a@example.com", "VIP")


def test_opened_invoice_is_text_without_json(keysat, fake):
    make_shop()
    lines = dict(line.split(maxsplit=1) for line in keysat("invoice", "open", "editor").out.splitlines())
    assert lines["price"] == "21,000 sat"
    assert lines["pay_at"].startswith("https://pay.example/i/")


def test_what_can_not_be_opened_is_refused_in_one_sentence(keysat, fake):
    assert keysat("invoice", "open", "editor").refusal == "no product editor; `keysat product list` shows them."
    make_shop()
    assert "no policy nothing" in keysat("invoice", "open", "editor", "--policy", "nothing").refusal
    assert "no provider account nothing" in keysat("invoice", "open", "editor", "--account", "nothing").refusal
    fake.trouble = RemoteUnavailable("the fake provider is down.")
    assert keysat("invoice", "open", "editor").refusal == "the fake provider is down."


def test_list_is_newest_first_and_limited(keysat, fake):
    ids = [str(make_invoice().id) for _ in range(3)]
    listed = keysat("invoice", "list", "--limit", "2", "--json").json
    assert [row["id"] for row in listed] == [ids[2], ids[1]]
    assert {"status": "pending", "price": "21,000 sat", "account": "main", "buyer": "buyer@example.com"}.items() <= (
        listed[0].items()
    )


@pytest.mark.parametrize(
    ("option", "facts"),
    [
        (["--status", "expired"], {"status": "expired"}),
        (["--status", "settled"], SETTLED),
        (["--review"], {"review_reason": "underpaid", "review_opened_at": func.now()}),
        (["--failing"], {"error_count": 1}),
        (["--unfulfilled"], SETTLED),
        (["--abandoned"], {"status": "expired", "next_check_at": None}),
        (["--email", "else@example.com"], {"buyer_email": "else@example.com"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_list_shows_only_what_was_asked_for(keysat, invoice, option, facts):
    wanted = make_invoice(**facts)
    assert [row["id"] for row in keysat("invoice", "list", *option, "--json").json] == [str(wanted.id)]


def test_resolved_review_is_no_longer_listed(keysat, fake):
    make_invoice(review_reason="underpaid", review_opened_at=func.now(), review_resolved_at=func.now())
    assert keysat("invoice", "list", "--review", "--json").json == []
    assert keysat("invoice", "list", "--json").json[0]["review"] is None


@pytest.mark.parametrize("options", [["--status", "paid"], ["--limit", "0"], ["--limit", "many"]])
def test_list_option_of_another_form_is_wrong_usage(keysat, options):
    assert options[0] in keysat("invoice", "list", *options).usage


# Why has this buyer no license?


WHY = {
    "not checked yet": ({"last_said": None}, "it was not checked yet; the next check is at "),
    "a webhook led to a check": ({"last_said": "New/None"}, "no payment was seen (pending); the next check is at "),
    "nothing paid": ({"last_checked_at": func.now()}, "no payment was seen (pending); the next check is at "),
    "expired": ({"status": "expired", "last_checked_at": func.now()}, "it expired unpaid; the next check is at "),
    "invalid": ({"status": "invalid", "last_checked_at": func.now()}, "no payment was seen (invalid); the next check"),
    "not checked any more": (
        {"status": "expired", "last_checked_at": func.now(), "next_check_at": None},
        "it expired unpaid; it is no longer checked",
    ),
    "overdue": (
        {"last_checked_at": func.now(), "next_check_at": func.now() - timedelta(minutes=5)},
        "it should have been checked at ",
    ),
    "seen": (
        {"payment_seen_at": func.now(), "paid_amount": PRICE},
        "21,000 sat were seen and aren't confirmed yet; the license follows by itself; the next check is at ",
    ),
    "seen without an amount": ({"payment_seen_at": func.now()}, "21,000 sat were seen and aren't confirmed yet; "),
    "part paid": (
        {"payment_seen_at": func.now(), "paid_amount": 10_000},
        "10,000 sat of 21,000 sat were paid so far; the next check is at ",
    ),
    "no usable response": (
        {"last_checked_at": func.now(), "last_error": "it is down", "error_count": 1},
        "the last check brought no usable response: it is down",
    ),
    "short": (
        {"review_reason": "underpaid", "review_opened_at": func.now(), "paid_amount": 10_000},
        '10,000 sat of 21,000 sat were paid, 11,000 sat short; `keysat invoice settle ID --note "..."` issues the',
    ),
    "never confirmed": (
        {"review_reason": "unconfirmed", "review_opened_at": func.now(), "paid_amount": PRICE},
        "21,000 sat of 21,000 sat were paid and never confirmed; it settles by itself should they be; `keysat invoice ",
    ),
    "late": (
        {"review_reason": "late", "review_opened_at": func.now(), "paid_amount": PRICE},
        "21,000 sat of 21,000 sat were paid after the invoice had expired; ",
    ),
}


@pytest.mark.parametrize("case", WHY)
def test_why_says_what_the_state_is_and_what_to_do(keysat, invoice, case):
    facts, sentence = WHY[case]
    set_columns(invoice.id, **facts)
    assert why(keysat, invoice).startswith(sentence.replace("ID", str(invoice.id)))


def test_why_counts_webhooks_that_wait(keysat, invoice):
    with transaction() as session:
        store(session, load_account().id, ReceivedEvent("delivery", "kind", invoice.provider_invoice_id), b"{}")
    assert why(keysat, invoice).endswith("; 1 webhooks about it wait to be handled")


def test_why_names_the_command_for_a_paused_account(keysat, invoice):
    set_account(paused_at=func.now(), pause_reason="by hand")
    assert why(keysat, invoice).endswith(
        "so the provider isn't called; `keysat provider resume main` when it may be called again"
    )
    set_account(recheck_at=func.now())
    assert why(keysat, invoice).endswith("enter it with `keysat provider renew main`")


def test_why_shows_the_end_of_an_accounts_pause(keysat, invoice):
    rest = {"failure_count": 5, "last_error": "it is down", "open_until": func.now() + timedelta(minutes=1)}
    set_columns(invoice.id, last_checked_at=func.now())
    set_account(**rest)
    assert why(keysat, invoice).startswith("account main fails (it is down) and isn't called until ")


def test_why_of_a_paid_invoice(keysat, fake, invoice):
    pay(fake, invoice, paid=PRICE + 5)
    check_invoice(invoice.id)
    assert why(keysat, invoice).startswith("it is paid (5 sat more than the price were paid), and its license is due")


def test_payment_went_back_before_the_license(keysat, fake):
    invoice = make_invoice(**SETTLED)
    fake.say(invoice.provider_invoice_id, ProviderStatus.REFUNDED)
    check_invoice(invoice.id)
    command = f'`keysat invoice restore {invoice.id} --note "..."`'
    assert why(keysat, invoice) == f"the payment went back before a license was issued; {command} undoes that"


def test_reversal_is_undone_with_one_command(keysat, fake):
    invoice = make_invoice(**SETTLED)
    keysat("invoice", "reconcile", invoice.id)
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    keysat("invoice", "reconcile", invoice.id)
    fake.say(invoice.provider_invoice_id, ProviderStatus.REFUNDED)
    check_invoice(invoice.id)
    assert why(keysat, invoice).startswith("the payment went back and the license is suspended")
    restored = keysat("invoice", "restore", invoice.id, "--note", "the refund was a mistake")
    assert (restored.code, restored.out.startswith("LIC1-")) == (0, True)
    assert why(keysat, invoice) == "the license was issued and is active"
    assert "was not reversed" in keysat("invoice", "restore", invoice.id, "--note", "again").refusal


def test_license_is_there(keysat, fake, signer):
    invoice = make_invoice(**SETTLED)
    issue_now(invoice.id, signer.key_id)
    shown = keysat("invoice", "show", invoice.id, "--json").json
    assert (shown["why"], shown["state"]) == ("the license was issued and is active", "licensed")
    assert shown["license"]["key"] == signer.key_for(load_licenses(invoice.id)[0])


def test_license_was_withdrawn(keysat, fake, signer):
    invoice = make_invoice(**SETTLED)
    issue_now(invoice.id, signer.key_id)
    fake.say(invoice.provider_invoice_id, ProviderStatus.REFUNDED)
    check_invoice(invoice.id)
    assert why(keysat, invoice).startswith("the payment went back and the license is suspended")


LOOKED = ["invoice.looked", "invoice.settled"]


def test_show_lists_every_step_in_order(keysat, fake, invoice, signer):
    pay(fake, invoice)
    check_invoice(invoice.id)
    issue_now(invoice.id, signer.key_id)
    steps = keysat("invoice", "show", invoice.id, "--json").json["timeline"]
    assert [step["action"] for step in steps] == ["invoice.opened", *LOOKED, "license.issued"]
    text = keysat("invoice", "show", invoice.id).out
    assert "why" in text.splitlines()[0]
    assert [text.index(step["action"]) for step in steps] == sorted(text.index(step["action"]) for step in steps)


def test_invoice_is_found_by_the_providers_id_too(keysat, invoice):
    shown = keysat("invoice", "show", invoice.provider_invoice_id, "--json").json
    assert (shown["id"], shown["provider_invoice_id"]) == (str(invoice.id), invoice.provider_invoice_id)


@pytest.mark.parametrize("command", ["show", "reconcile", "watch"])
@pytest.mark.parametrize("which", ["3fcc1932-e025-48bf-a537-07dea3ca6370", "nothing", "'; DROP TABLE invoices; --"])
def test_unknown_invoice_is_refused(keysat, command, which):
    assert keysat("invoice", command, which).refusal == f"no invoice {which}; `keysat invoice list` shows them."


# Acting on it


def test_invoice_reconcile_paid(keysat, fake, invoice, signer):
    """The check runs at once and prints the license."""
    pay(fake, invoice)
    finished = keysat("invoice", "reconcile", invoice.id)
    assert finished.code == 0
    [row] = load_licenses(invoice.id)
    assert verify(finished.out.strip(), signer.public_key).license_id == row.id
    assert "decision: settle" in finished.err


def test_reconcile_of_an_unpaid_invoice_prints_no_data(keysat, invoice):
    finished = keysat("invoice", "reconcile", invoice.id)
    assert (finished.code, finished.out) == (0, "")
    assert "the provider reports pending/none; decision: keep" in finished.err


def test_reconcile_that_needs_a_person_says_so(keysat, fake, invoice):
    pay(fake, invoice, paid=1)
    assert "it waits for your decision (amount)" in keysat("invoice", "reconcile", invoice.id).err


def test_reconcile_without_an_answer_is_refused(keysat, fake, invoice):
    fake.trouble = RemoteUnavailable("the fake provider is down.")
    assert keysat("invoice", "reconcile", invoice.id).refusal == "the fake provider is down."
    set_account(paused_at=func.now(), pause_reason="by hand")
    assert "main is paused (by hand)" in keysat("invoice", "reconcile", invoice.id).refusal


def test_invoice_reconcile_refunded(keysat, fake):
    """No license is issued, and the exit code is 0."""
    invoice = make_invoice(**SETTLED)
    fake.say(invoice.provider_invoice_id, ProviderStatus.REFUNDED)
    finished = keysat("invoice", "reconcile", invoice.id)
    assert (finished.code, finished.out) == (0, "")
    assert "decision: reverse" in finished.err
    assert load_licenses() == []


def test_settling_by_hand_prints_the_license(keysat, invoice, signer):
    finished = keysat("invoice", "settle", invoice.id, "--note", "paid in cash")
    assert finished.code == 0
    assert verify(finished.out.strip(), signer.public_key).license_id == load_licenses(invoice.id)[0].id
    assert "is settled already" in keysat("invoice", "settle", invoice.id, "--note", "again").refusal


def test_dismissing_closes_the_review(keysat, fake, invoice):
    pay(fake, invoice, paid=1)
    check_invoice(invoice.id)
    assert keysat("invoice", "dismiss", invoice.id, "--note", "sent back").code == 0
    assert load_licenses() == []
    assert keysat("invoice", "list", "--review", "--json").json == []
    assert "is not in review" in keysat("invoice", "dismiss", invoice.id, "--note", "again").refusal


@pytest.mark.parametrize("command", ["settle", "dismiss"])
def test_decision_needs_its_reason(keysat, invoice, command):
    assert "--note" in keysat("invoice", command, invoice.id).usage
    assert "say why" in keysat("invoice", command, invoice.id, "--note", " ").refusal
    assert load_invoice(invoice.id).status == "pending"


def test_watch_ends_with_the_license(keysat, fake, signer):
    invoice = make_invoice(**SETTLED)
    issue_now(invoice.id, signer.key_id)
    finished = keysat("invoice", "watch", invoice.id)
    assert (finished.code, finished.out) == (0, "settled: the license was issued and is active\n")


def test_free_policy_is_licensed_at_once(keysat, fake):
    make_catalog()
    keysat("policy", "add", "editor", "gift", "--price", "0")
    opened = keysat("invoice", "open", "editor", "--policy", "gift", "--json")
    assert opened.err == "nothing is to be paid; the license was issued\n"
    shown = keysat("invoice", "show", opened.json["id"], "--json").json
    assert shown["why"] == "the license was issued and is active"
    assert shown["account"] is None


def test_times_are_utc_in_text_and_iso_in_json(keysat, invoice):
    shown = keysat("invoice", "show", invoice.id, "--json").json
    assert shown["created"] == invoice.created_at.isoformat()
    assert invoice.created_at.utcoffset() == timedelta(0)
    assert f"{invoice.created_at:%Y-%m-%d %H:%M:%S}Z" in keysat("invoice", "show", invoice.id).out
