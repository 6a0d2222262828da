"""Invoices, licenses, machines, accounts over the admin API: why has this buyer no license, and what to do about it."""

import pytest
from sqlalchemy import select

from keysat.core.db import reading
from keysat.core.errors import CredentialsRejected, RemoteUnavailable
from keysat.licenses.keys import verify
from keysat.models import AuditLine
from keysat.models.invoice_status import PaymentException
from keysat.providers.base import ProviderStatus
from tests.builders import PRICE, check_invoice, load_account, load_invoice, load_licenses, make_invoice, set_account
from tests.mail.conftest import mail_on, mail_server
from tests.mail.letters import license_sold, load_mails

__all__ = ["mail_on", "mail_server"]


def reviewed(fake):
    invoice = make_invoice()
    fake.say(invoice.provider_invoice_id, ProviderStatus.EXPIRED, PaymentException.PARTIAL, paid=1)
    check_invoice(invoice.id)
    return invoice


def actors(action):
    with reading() as session:
        return list(session.scalars(select(AuditLine.actor).where(AuditLine.action == action)))


@pytest.mark.parametrize("key", ["id", "provider_invoice_id"])
def test_invoice_is_found_by_either_id(admin, key):
    make_invoice()
    invoice = make_invoice()
    (found,) = admin.get("invoices", id=str(getattr(invoice, key)))
    assert found["id"] == str(invoice.id)


def test_invoices_are_found_by_buyer_status_review_and_account(admin, fake):
    waiting, review = make_invoice(), reviewed(fake)
    assert {invoice["id"] for invoice in admin.get("invoices", email="BUYER@example.com")} == {
        str(waiting.id),
        str(review.id),
    }
    assert admin.get("invoices", email="nobody@example.com") == []
    assert [invoice["id"] for invoice in admin.get("invoices", status="pending")] == [str(waiting.id)]
    assert [invoice["id"] for invoice in admin.get("invoices", review=True)] == [str(review.id)]
    assert len(admin.get("invoices", account="main")) == 2
    assert admin.get("invoices", account="other") == []
    newest, older = admin.get("invoices")
    assert admin.get("invoices", limit=1, before=newest["id"]) == [older]


def test_invoice_shows_why_and_its_timeline(admin, fake):
    invoice = reviewed(fake)
    shown = admin.get(f"invoices/{invoice.id}")
    assert shown["why"] == "1 sat of 21,000 sat were paid, 20,999 sat short"
    assert (shown["state"], shown["remedies"]) == ("short", ["settle", "dismiss"])
    assert (shown["account"], shown["license_id"]) == ("main", None)
    assert [moment["action"] for moment in shown["timeline"]] == ["invoice.opened", "invoice.looked", "invoice.expired"]
    assert admin.call("GET", "invoices/01a21076-4515-7464-8cda-93e2d050f870").status_code == 404


def test_reconcile_asks_the_provider_and_issues_the_license(admin, fake):
    invoice = make_invoice()
    assert admin.post(f"invoices/{invoice.id}/reconcile") == {
        "provider_says": "pending/none",
        "decision": "keep",
        "license_id": None,
    }
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    checked = admin.post(f"invoices/{invoice.id}/reconcile")
    assert (checked["decision"], checked["license_id"]) == ("settle", str(load_licenses(invoice.id)[0].id))
    assert actors("invoice.settled") == actors("license.issued") == ["api:tests"]
    assert "the license was issued" in admin.get(f"invoices/{invoice.id}")["why"]


def test_failing_provider_is_an_upstream_error(admin, fake):
    invoice = make_invoice()
    fake.trouble = RemoteUnavailable("http://10.0.0.7 is silent")
    answer = admin.call("POST", f"invoices/{invoice.id}/reconcile")
    assert (answer.status_code, "10.0.0.7" in answer.text) == (502, False)


def test_review_is_settled_or_dismissed_with_a_note(admin, fake):
    settled, dismissed = reviewed(fake), reviewed(fake)
    assert admin.call("POST", f"invoices/{settled.id}/settle", {"note": ""}).status_code == 400
    assert admin.post(f"invoices/{settled.id}/settle", {"note": "paid in cash"})["license_id"]
    assert len(load_licenses(settled.id)) == 1
    assert admin.post(f"invoices/{dismissed.id}/dismiss", {"note": "given back"}) == {"ok": True}
    assert not load_invoice(dismissed.id).in_review
    assert admin.call("POST", f"invoices/{dismissed.id}/dismiss", {"note": "again"}).status_code == 409


def test_license_is_issued_by_hand_found_and_withdrawn(admin, api, signer):
    issued = admin.post("licenses", {"product": "editor", "note": "for a friend"}, 201)
    assert str(verify(issued["license_key"], signer.public_key).license_id) == issued["id"]
    path = f"licenses/{issued['id']}"
    assert admin.get(path)["license_key"] == issued["license_key"]
    assert [row["id"] for row in admin.get("licenses", product="editor", status="active")] == [issued["id"]]

    def reason():
        return api.post("/v1/validate", {"key": issued["license_key"]}).json().get("reason")

    assert reason() is None
    assert admin.post(f"{path}/suspend", {"note": "asked"})["status"] == "suspended"
    assert reason() == "suspended"
    assert admin.post(f"{path}/unsuspend", {"note": "sorted out"})["status"] == "active"
    assert admin.post(f"{path}/revoke", {"note": "shared"})["status"] == "revoked"
    assert reason() == "revoked"
    assert admin.call("POST", f"{path}/unsuspend", {"note": "no"}).status_code == 409


def test_license_withdrawn_over_the_api_is_told(admin, mail_on, signer):
    _, license_id = license_sold(signer)
    admin.post(f"licenses/{license_id}/suspend", {"note": "chargeback"})
    assert [mail.kind for mail in load_mails()] == ["receipt", "suspended"]


def test_machines_of_a_license_are_listed_and_freed(admin, api):
    key = admin.post("licenses", {"product": "editor", "note": "for a friend"}, 201)
    assert api.post("/v1/validate", {"key": key["license_key"], "fingerprint": "a", "hostname": "lena"}).json()["ok"]
    (machine,) = admin.get(f"licenses/{key['id']}/machines")
    assert (machine["hostname"], machine["deactivated_at"]) == ("lena", None)
    assert admin.post(f"machines/{machine['id']}/deactivate", {"note": "sold"}) == {"ok": True}
    assert api.post("/v1/validate", {"key": key["license_key"], "fingerprint": "b"}).json()["ok"]
    assert admin.call("POST", f"machines/{machine['id']}/deactivate", {"note": "again"}).status_code == 409


def test_license_is_changed_rotated_and_transferred(admin):
    issued = admin.post("licenses", {"product": "editor", "email": "old@example.com", "note": "a friend"}, 201)
    path = f"licenses/{issued['id']}"
    edited = admin.patch(path, {"expires_at": "2090-01-01T00:00:00Z", "note": "longer"})
    assert (edited["expires_at"], edited["holder_email"]) == ("2090-01-01T00:00:00Z", "old@example.com")
    rotated = admin.post(f"{path}/rotate", {"note": "leaked"})
    moved = admin.post(f"{path}/transfer", {"email": "new@example.com", "note": "sold"})
    assert len({one["license_key"] for one in (issued, edited, rotated, moved)}) == 4
    assert [one["id"] for one in admin.get("licenses", email="NEW@example.com")] == [issued["id"]]
    assert admin.call("PATCH", path, {"expires_at": None}).status_code == 400


def test_licenses_are_found_by_their_buyer(admin, fake):
    invoice = make_invoice()
    fake.say(invoice.provider_invoice_id, ProviderStatus.SETTLED, paid=PRICE)
    admin.post(f"invoices/{invoice.id}/reconcile")
    admin.post("licenses", {"product": "editor", "note": "for a friend"}, 201)
    for query in ({"email": "Buyer@Example.com"}, {"invoice_id": str(invoice.id)}):
        (found,) = admin.get("licenses", **query)
        assert found["invoice_id"] == str(invoice.id)


ACCOUNT = {
    "name": "second",
    "kind": "btcpay",
    "base_url": "http://127.0.0.1:9",
    "store_id": "s",
    "api_key": "canary-api-key",
    "webhook_secret": "canary-webhook-secret-of-32-bytes",
    "unchecked": True,
}


def test_account_is_added_and_its_secrets_never_come_out(admin):
    answers = [
        admin.call("POST", "accounts", ACCOUNT),
        admin.call("GET", "accounts"),
        admin.call("GET", "accounts/second"),
    ]
    answers.append(admin.call("PUT", "accounts/second/credentials", {"api_key": "canary-anew", "unchecked": True}))
    answers.append(admin.call("POST", "accounts", ACCOUNT))
    answers.append(admin.call("POST", "accounts", {**ACCOUNT, "name": "third", "webhook_secret": "canary-short"}))
    answers.append(admin.call("GET", "audit"))
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 409, 400, 200]
    assert not [answer.text for answer in answers if "canary" in answer.text]


def test_account_is_tested_paused_resumed_and_removed(admin, fake):
    assert admin.post("accounts/main/test") == {"ok": True}
    fake.trouble = CredentialsRejected("no (401)")
    assert admin.call("POST", "accounts/main/test").status_code == 502
    assert load_account().paused_at is None
    assert admin.post("accounts/main/pause", {"note": "holidays"})["pause_reason"] == "holidays"
    assert admin.post("accounts/main/resume")["paused_at"] is None
    admin.post("accounts", ACCOUNT, 201)
    assert admin.call("DELETE", "accounts/second").json() == {"ok": True}
    assert admin.call("DELETE", "accounts/second").status_code == 404


def test_account_with_invoices_stays(admin):
    make_invoice()
    assert admin.call("DELETE", "accounts/main").status_code == 409


def test_status_shows_what_is_due(admin, fake):
    assert admin.get("status")["trouble"] is False
    reviewed(fake)
    status = admin.get("status")
    assert (status["trouble"], status["review"]) == (True, 1)
    set_account(paused_at="2026-01-01T00:00:00Z", pause_reason="x")
    assert admin.get("status")["trouble"] is True


def test_audit_is_listed_by_subject(admin):
    invoice = make_invoice()
    assert [line["action"] for line in admin.get("audit", subject=str(invoice.id))] == ["invoice.opened"]
    assert len(admin.get("audit", limit=2)) == 2


def test_audit_and_machines_come_in_pages_newest_first(admin, api):
    key = admin.post("licenses", {"product": "editor", "note": "for a friend"}, 201)
    admin.patch("products/editor/policies/standard", {"max_machines": 0})
    seats = admin.post("licenses", {"product": "editor", "note": "for all"}, 201)
    for number in range(5):
        api.post("/v1/validate", {"key": seats["license_key"], "fingerprint": str(number)})
    for path in ("audit", f"licenses/{seats['id']}/machines"):
        everything = admin.get(path)
        assert len(everything) >= 5
        page, paged = admin.get(path, limit=2), []
        while page:
            paged += page
            page = admin.get(path, limit=2, before=page[-1]["id"])
        assert paged == everything
        assert [entry["id"] for entry in everything] == sorted((entry["id"] for entry in everything), reverse=True)
    assert admin.get(f"licenses/{key['id']}/machines") == []
