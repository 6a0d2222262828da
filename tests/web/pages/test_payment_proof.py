"""A buyer without an e-mail address proves a Lightning payment, and nobody learns anything from guesses."""

import re
from collections import Counter
from uuid import uuid4

import pytest
import requests

from keysat.web.pages.language import LANGUAGES
from tests.builders import (
    check_invoice,
    invoice_of,
    issue_now,
    load_invoice,
    load_licenses,
    make_account,
    make_invoice,
    prove_payment,
)
from tests.mail.letters import license_sold
from tests.markup import faults
from tests.web.pages.conftest import text_of, with_language

NO_SUCH = "no license for this reference and this preimage together"
pytestmark = pytest.mark.usefixtures("empty_database", "empty_broker", "many_attempts")


@pytest.fixture
def sold(fake_shop, signer):
    """The invoice of a license that a Lightning payment paid."""
    make_account("lightning", "btcpay", "https://btcpay.example.com")
    invoice_id, _ = license_sold(signer)
    return load_invoice(invoice_id)


def prove(browser, reference, preimage, path="/recover"):
    return browser.post(path, payment_reference=str(reference), preimage=preimage)


def test_lightning_buyer_finds_the_key_again(browser, buy, shop, signer):
    """The whole way: bought without an address, paid at the sandbox's checkout, the page lost, the payment proven."""
    link = buy(email="").headers["location"]
    paid = requests.post(link, data={"do": "lightning"}, timeout=60)
    assert "Paid 21,000 sat. The payment is confirmed." in paid.text
    preimage = re.search(r'<code id="preimage">([0-9a-f]{64})</code>', paid.text)[1]
    number = link.rpartition("/")[2]
    invoice_id = invoice_of(shop.ledger()["invoices"][0]["order_id"])
    assert check_invoice(invoice_id).license_due
    assert prove(browser, number, preimage).status_code == 404, "the license is still to be issued"
    issue_now(invoice_id, signer.key_id)
    found = prove(browser, number, f" {preimage.upper()} ")
    assert found.status_code == 200
    assert signer.key_for(load_licenses(invoice_id)[0]) in text_of(found)
    assert preimage not in found.text.lower()


def test_proof_opens_only_its_own_license(browser, sold, signer):
    other, _ = license_sold(signer)
    found = prove(browser, sold.provider_invoice_id, prove_payment(sold.id))
    assert signer.key_for(load_licenses(sold.id)[0]) in text_of(found)
    assert signer.key_for(load_licenses(other)[0]) not in text_of(found)
    assert prove(browser, other, prove_payment(sold.id)).status_code == 404


@pytest.mark.parametrize(
    ("reference", "preimage", "sentences"),
    [
        ("1", "", ["This is no preimage."]),
        ("1", "0" * 63, ["This is no preimage."]),
        ("", "0" * 64, ["Give the reference of your purchase."]),
        ("\0", "none", ["Give the reference of your purchase.", "This is no preimage."]),
    ],
)
def test_mistake_is_named(browser, sold, reference, preimage, sentences):
    shown = prove(browser, reference, preimage)
    assert shown.status_code == 400
    for sentence in sentences:
        assert text_of(shown).count(sentence) == 2, "beside the field and in the summary"


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_are_valid_and_never_repeat_the_preimage(browser, sold, language):
    right, path = prove_payment(sold.id), with_language("/recover", language)
    for preimage, status in (("12" * 33, 400), ("1" * 64, 404), (right, 200)):
        shown = prove(browser, sold.id, preimage, path)
        assert (shown.status_code, faults(shown.text)) == (status, [])
        assert preimage not in shown.text
    assert shown.headers["Cache-Control"] == "no-store"


def test_guesses_are_limited_and_get_the_same_answer(browser, sold, signer, setting):
    """A wrong preimage, a sale from before there were hashes, an unpaid invoice, and none at all."""
    setting(KEYSAT_RATE_RECOVER="10/minute")
    prove_payment(sold.id)
    earlier, _ = license_sold(signer)
    unpaid = make_invoice()
    references = (sold.id, earlier, unpaid.id, uuid4(), "nonsense")
    answers = [prove(browser, references[number % 5], f"{number:064x}") for number in range(200)]
    assert Counter(answer.status_code for answer in answers) == {404: 10, 429: 190}
    told = {re.sub(r' value="[^"]*"', "", answer.text) for answer in answers if answer.status_code == 404}
    assert len(told) == 1
    assert NO_SUCH in text_of(answers[0])


def test_form_is_shown_only_by_a_seller_whose_provider_tells_payment_hashes(browser, fake_shop):
    assert "Preimage" not in browser.get("/recover").text
    make_account("lightning", "btcpay", "https://btcpay.example.com")
    assert "Preimage of the payment" in text_of(browser.get("/recover"))
