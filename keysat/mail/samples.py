"""Sample values for each kind of mail, by which templates are tried at the start and shown to the operator."""

from __future__ import annotations

from datetime import UTC, datetime

from keysat.core.money import Money
from keysat.core.settings import Settings
from keysat.mail.facts import Facts, seller_facts
from keysat.mail.render import Templates
from keysat.mail.send import TEST_TEMPLATE
from keysat.mail.texts import TEXTS
from keysat.models.mail import MailKind

_DAY = datetime(2026, 11, 26, tzinfo=UTC)
_INVOICE = "0198c0de-0000-7000-8000-000000000000"
_OF_A_PURCHASE: Facts = {
    "product": "Editor",
    "policy": "Standard",
    "page": f"https://license.example.com/p/{_INVOICE}.secret",
    "invoice_id": _INVOICE,
}
_AMOUNTS: Facts = {"price": Money(21_000, "BTC"), "paid": Money(20_000, "BTC"), "missing": Money(1_000, "BTC")}
_RECEIPT: Facts = {
    "key": "LIC1-SAMPLE",
    "bought_at": _DAY,
    "valid_until": _DAY,
    "machines": 3,
    "entitlements": "export",
}
SAMPLES: dict[str, Facts] = {
    MailKind.RECEIPT: {**_OF_A_PURCHASE, **_RECEIPT, "price": Money(21_000, "BTC")},
    MailKind.SEEN: {**_OF_A_PURCHASE, **_AMOUNTS},
    MailKind.SHORT: {**_OF_A_PURCHASE, **_AMOUNTS},
    MailKind.REVERSED: {**_OF_A_PURCHASE, "license_status": "suspended", "renewal": False, "valid_until": _DAY},
    MailKind.RENEWED: {
        **_OF_A_PURCHASE,
        "key": _RECEIPT["key"],
        "price": Money(21_000, "BTC"),
        "valid_until": _DAY,
    },
    MailKind.SUSPENDED: _OF_A_PURCHASE,
    MailKind.REVOKED: _OF_A_PURCHASE,
    MailKind.EXPIRING: {**_OF_A_PURCHASE, "ends_at": _DAY, "valid_until": _DAY, "renewable": True},
    MailKind.EXPIRED: {**_OF_A_PURCHASE, "ends_at": _DAY, "valid_until": _DAY, "renewable": True},
    MailKind.ROTATED: {**_OF_A_PURCHASE, "key": _RECEIPT["key"]},
    MailKind.TRANSFERRED: {**_OF_A_PURCHASE, "key": _RECEIPT["key"]},
    MailKind.RESTORED: {**_OF_A_PURCHASE, "key": _RECEIPT["key"]},
    MailKind.RECOVERY: {"link": "https://license.example.com/recover/secret", "valid_until": _DAY},
    TEST_TEMPLATE: {},
}


def check_templates(settings: Settings) -> None:
    """Render each template in each language with sample values, if mail is on.

    Raises:
        TemplateBroken: one has an error, or the folder isn't there.
    """
    if settings.mail_is_on:
        templates = Templates(settings.mail_templates)
        for language in TEXTS:
            for name, facts in SAMPLES.items():
                templates.render(name, language, {**seller_facts(settings), **facts})
