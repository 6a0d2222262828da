"""A lost key is recovered by invoice and address, and a guess learns nothing."""

import hashlib
from collections import Counter
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from keysat.core.db import reading, transaction
from keysat.core.settings import load_settings
from keysat.licenses.edit import transfer_license
from keysat.models import AuditLine
from keysat.sales.recover import make_link
from keysat.web.state import signer as installed
from tests.builders import (
    issue_now,
    load_account,
    load_licenses,
    make_account,
    make_invoice,
    make_license,
    prove_payment,
    set_columns,
    set_license,
)

pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "fake")
EMAIL = "buyer@example.com"


@pytest.fixture(autouse=True)
def limit(monkeypatch, servers):
    """Ten attempts are few for a file of tests from one address."""
    monkeypatch.setenv("KEYSAT_RATE_RECOVER", "5/minute")
    load_settings.cache_clear()
    yield
    monkeypatch.undo()
    load_settings.cache_clear()


@pytest.fixture
def bought(signer):
    """A settled invoice with its license."""
    invoice = make_invoice(status="settled", settled_at=func.now())
    issue_now(invoice.id, signer.key_id)
    return invoice


def ask(api, invoice_id, email=EMAIL):
    return api.post("/v1/recover", {"invoice_id": str(invoice_id), "email": email})


def audited():
    with reading() as session:
        return list(session.scalars(select(AuditLine.detail).where(AuditLine.action == "license.recovered")))


def test_lost_key_is_recovered(api, bought, signer):
    [row] = load_licenses(bought.id)
    found = ask(api, bought.id, " Buyer@Example.com ").json()
    assert found == {
        "license_key": signer.key_for(row),
        "license_id": str(row.id),
        "product_id": str(row.product_id),
        "issued_at": row.issued_at.isoformat().replace("+00:00", "Z"),
        "expires_at": None,
        "entitlements": ["export"],
    }


def test_purchase_is_named_by_any_of_its_ids(api, bought, signer):
    for name in (bought.provider_invoice_id, signer.purchase_token(bought.id)):
        assert ask(api, name).status_code == 200


def test_recovery_is_audited_without_the_address(api, bought):
    ask(api, bought.id)
    ask(api, bought.id, "other@example.com")
    [line] = audited()
    assert set(line) == {"address"}
    assert "@" not in line["address"]


def test_every_failure_is_the_same(api, bought):
    unpaid = make_invoice()
    wrong = [(bought.id, "other@example.com"), (uuid4(), EMAIL), ("nonsense", EMAIL), (unpaid.id, EMAIL)]
    answers = {(answer.status_code, answer.text) for answer in (ask(api, *one) for one in wrong)}
    assert len(answers) == 1
    assert next(iter(answers))[0] == 404


def test_transferred_license_is_recovered_by_its_new_holder(api, bought):
    [row] = load_licenses(bought.id)
    with transaction() as session:
        transfer_license(session, row.id, "new@example.com", "cli", "sold")
    assert ask(api, bought.id).status_code == 404
    assert ask(api, bought.id, "new@example.com").status_code == 200


def test_link_from_the_command_line_shows_the_keys(api, bought, signer):
    secret = make_secret()
    found = api.post("/v1/recover/link", {"secret": secret}).json()
    assert [one["license_key"] for one in found["licenses"]] == [signer.key_for(load_licenses(bought.id)[0])]
    assert api.post("/v1/recover/link", {"secret": secret}).status_code == 404


def make_secret():
    with transaction() as session:
        return make_link(session, EMAIL, "cli").secret


def test_license_of_another_signer_blocks_no_other(api, signer):
    other = make_license("player", holder_email=EMAIL, signer="another")
    row = make_license(holder_email=EMAIL)
    found = api.post("/v1/recover/link", {"secret": make_secret()}).json()
    assert [one["license_key"] for one in found["licenses"]] == [signer.key_for(row)]
    assert found["unavailable"] == [str(other.id)]


def test_link_without_an_answer_is_not_used_up(api, bought, settings, signer):
    """The signing key is away for a moment."""
    secret, key_file = make_secret(), settings.signing_key_file
    kept = key_file.rename(key_file.with_suffix(".away"))
    installed.cache_clear()
    try:
        assert api.post("/v1/recover/link", {"secret": secret}).status_code == 503
        assert ask(api, bought.id).status_code == 503
    finally:
        kept.rename(key_file)
    assert api.post("/v1/recover/link", {"secret": secret}).status_code == 200
    assert [set(line) for line in audited()] == []


def test_link_is_not_used_up_while_another_signing_key_is_installed(api, bought):
    """The newest license names the key that should be there."""
    secret, newest = make_secret(), make_license("player", signer="another")
    installed.cache_clear()
    assert api.post("/v1/recover/link", {"secret": secret}).status_code == 503
    set_license(newest.id, signer=load_licenses(bought.id)[0].signer)
    assert api.post("/v1/recover/link", {"secret": secret}).status_code == 200


def prove(api, invoice_id, preimage):
    return api.post("/v1/recover", {"invoice_id": str(invoice_id), "preimage": preimage})


def test_preimage_of_the_payment_recovers_the_key_in_place_of_the_address(api, bought, signer):
    preimage, [row] = prove_payment(bought.id), load_licenses(bought.id)
    spaced = " ".join(preimage[place : place + 8] for place in range(0, 64, 8))
    for name, typed in (
        (bought.id, preimage),
        (bought.provider_invoice_id, preimage.upper()),
        (signer.purchase_token(bought.id), f" {spaced}\n"),
    ):
        assert prove(api, name, typed).json()["license_key"] == signer.key_for(row)
    assert [set(line) for line in audited()] == [{"payment"}] * 3


def test_every_failed_proof_is_the_same(api, bought, signer):
    preimage = prove_payment(bought.id)
    unpaid, sold_before = make_invoice(), make_invoice(status="settled", settled_at=func.now())
    prove_payment(unpaid.id)
    issue_now(sold_before.id, signer.key_id)
    wrong = [
        (bought.id, "0" * 64),
        (bought.id, hashlib.sha256(bytes.fromhex(preimage)).hexdigest()),
        *((name, preimage) for name in ("nonsense", unpaid.id, sold_before.id)),
    ]
    answers = {(answer.status_code, answer.text) for answer in (prove(api, *one) for one in wrong)}
    assert len(answers) == 1
    assert next(iter(answers))[0] == 404
    assert audited() == []


def test_transferred_license_is_no_longer_the_payers(api, bought):
    preimage, [row] = prove_payment(bought.id), load_licenses(bought.id)
    with transaction() as session:
        transfer_license(session, row.id, "new@example.com", "cli", "sold")
    assert prove(api, bought.id, preimage).status_code == 404


def test_same_id_at_two_providers_opens_the_one_that_was_paid(api, bought, signer):
    make_account("other", store_id="another")
    twin = make_invoice(status="settled", settled_at=func.now())
    set_columns(twin.id, provider_account_id=load_account("other").id, provider_invoice_id=bought.provider_invoice_id)
    issue_now(twin.id, signer.key_id)
    for invoice in (bought, twin):
        preimage = prove_payment(invoice.id, f"{invoice.id.hex:0>64}")
        assert prove(api, bought.provider_invoice_id, preimage).json()["license_key"] == signer.key_for(
            load_licenses(invoice.id)[0]
        )


@pytest.mark.parametrize("preimage", ["", "0" * 63, "0" * 65, "g" * 64, "٣" * 64, "0x" + "0" * 62, "0" * 600, 5])
def test_malformed_preimage_is_refused_and_not_repeated(api, preimage):
    refused = prove(api, uuid4(), preimage)
    assert refused.status_code == 400
    assert preimage in {"", 5} or preimage not in refused.text


def test_exactly_one_proof_is_taken(api, bought):
    preimage = prove_payment(bought.id)
    both = api.post("/v1/recover", {"invoice_id": str(bought.id), "email": EMAIL, "preimage": preimage})
    assert both.status_code == 400
    assert "give the e-mail address, or the preimage" in both.json()["message"]


def test_guesses_of_a_preimage_are_limited_with_those_of_an_address(api, bought, log_of):
    lines = log_of("keysat.sales.recover")
    preimage = prove_payment(bought.id)
    answers = [prove(api, bought.id if number % 2 else uuid4(), f"{number:064x}") for number in range(200)]
    assert Counter(answer.status_code for answer in answers) == {404: 5, 429: 195}
    assert len({answer.text for answer in answers if answer.status_code == 404}) == 1
    assert ask(api, bought.id).status_code == prove(api, bought.id, preimage).status_code == 429
    assert not any(f"{number:064x}" in str(lines) for number in range(5))


def test_attempts_are_limited(api, bought):
    assert [ask(api, bought.id).status_code for _ in range(6)] == [200] * 5 + [429]


@pytest.mark.parametrize("change", [{"email": None}, {"email": "nobody"}, {"invoice_id": " "}], ids=str)
def test_request_of_the_wrong_shape_is_refused(api, change):
    assert api.post("/v1/recover", {"invoice_id": str(uuid4()), "email": EMAIL} | change).status_code == 400
