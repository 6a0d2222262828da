"""The texts of mail in each language. Templates take them by name, and `{}` are values that are shown as they are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from keysat.core.money import Money
from keysat.core.texts import printable

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "receipt.subject": "Your license for {product}",
        "receipt.thanks": "Thank you for buying {product}. This is your license key:",
        "receipt.page": "Your purchase, with the key and how to use it",
        "receipt.keep": "Keep this mail. Whoever has the key can use the license.",
        "renewed.subject": "Your license for {product} is renewed",
        "renewed.text": "Your license for {product} is valid until {valid_until}. This is its new key:",
        "renewed.old": "Programs that ask online accept the old key, too. Give the new one to those that don't.",
        "seen.subject": "Your payment for {product} was seen",
        "seen.full": "Your payment for {product} was seen, and it needs a confirmation. You may close the page: the "
        "license key comes by mail as soon as the payment is confirmed.",
        "seen.part": "A payment of {paid} for {product} was seen. The price is {price}, so {missing} are missing.",
        "seen.page": "Your purchase, and what it waits for",
        "short.subject": "Your payment for {product} was too low",
        "short.amount": "{paid} arrived for {product}. The price is {price}, so {missing} are missing, and no license "
        "was issued yet.",
        "short.unknown": "Less than the price of {product}, {price}, arrived, so no license was issued yet.",
        "short.next": "Your money isn't lost. Pay the rest, or ask us to send it back: {support}",
        "short.page": "Your purchase, and what is missing",
        "reversed.subject": "Your payment for {product} went back",
        "reversed.suspended": "The payment for {product} was refunded or withdrawn, so the license is suspended.",
        "reversed.revoked": "The payment for {product} was refunded or withdrawn, so the license is no longer valid.",
        "reversed.renewal": "The payment for the renewal of {product} was refunded or withdrawn. The license is valid "
        "until {valid_until}.",
        "reversed.none": "The payment for {product} was refunded or withdrawn, so no license is issued.",
        "rotated.subject": "Your license for {product} has a new key",
        "rotated.text": "The license key for {product} was replaced. The former one no longer works online. This is "
        "the new one:",
        "transferred.subject": "A license for {product} is yours now",
        "transferred.text": "A license for {product} was transferred to you. This is its key:",
        "expiring.subject": "Your license for {product} ends on {ends_at}",
        "expiring.text": "Your license for {product} ends on {ends_at}.",
        "expired.subject": "Your license for {product} ended on {ends_at}",
        "expired.text": "Your license for {product} ended on {ends_at}.",
        "expiry.grace": "It works until {valid_until}.",
        "expiry.renew": "Renew it here",
        "expiry.page": "Your license",
        "suspended.subject": "Your license for {product} is suspended",
        "suspended.text": "Your license for {product} was suspended. Until that is lifted, its key isn't accepted.",
        "revoked.subject": "Your license for {product} is no longer valid",
        "revoked.text": "Your license for {product} was revoked, so it is no longer valid.",
        "restored.subject": "Your license for {product} is valid again",
        "restored.text": "Your license for {product} is valid again. This is your license key:",
        "status.wrong": "If you think that this is a mistake, write to us: {support}",
        "recovery.subject": "Your purchases from {seller}",
        "recovery.link": "This link shows all purchases of your address, with their license keys",
        "recovery.limit": "It works once, until {valid_until}.",
        "recovery.ignore": "If you didn't ask for it, do nothing. Nobody else got this link.",
        "test.subject": "A test from {seller}",
        "test.text": "This mail was sent to try the mail server. If you read it, it works.",
        "row.product": "Product",
        "row.policy": "License",
        "row.price": "Paid",
        "row.bought_at": "Date",
        "row.valid_until": "Valid until",
        "row.forever": "forever",
        "row.machines": "Machines",
        "row.unlimited": "unlimited",
        "row.entitlements": "Includes",
        "row.invoice": "Order",
        "foot.help": "Help: {support}",
        "foot.why": "You get this mail because this address was given at a purchase from {seller}.",
    },
    "de": {
        "receipt.subject": "Ihre Lizenz für {product}",
        "receipt.thanks": "Danke für den Kauf von {product}. Das ist Ihr Lizenzschlüssel:",
        "receipt.page": "Ihr Kauf, mit dem Schlüssel und wie man ihn benutzt",
        "receipt.keep": "Heben Sie diese Mail auf. Wer den Schlüssel hat, kann die Lizenz benutzen.",
        "renewed.subject": "Ihre Lizenz für {product} ist verlängert",
        "renewed.text": "Ihre Lizenz für {product} ist bis {valid_until} gültig. Das ist ihr neuer Schlüssel:",
        "renewed.old": "Programme, die online prüfen, nehmen auch den alten Schlüssel an. Geben Sie den neuen denen, "
        "die das nicht tun.",
        "seen.subject": "Ihre Zahlung für {product} ist zu sehen",
        "seen.full": "Ihre Zahlung für {product} ist zu sehen und braucht noch eine Bestätigung. Sie können die Seite "
        "schließen: Der Lizenzschlüssel kommt per Mail, sobald die Zahlung bestätigt ist.",
        "seen.part": "Eine Zahlung von {paid} für {product} ist zu sehen. Der Preis ist {price}, es fehlen also "
        "{missing}.",
        "seen.page": "Ihr Kauf, und worauf er wartet",
        "short.subject": "Ihre Zahlung für {product} war zu niedrig",
        "short.amount": "Für {product} sind {paid} angekommen. Der Preis ist {price}, es fehlen also {missing}. Eine "
        "Lizenz gibt es deshalb noch nicht.",
        "short.unknown": "Für {product} ist weniger als der Preis von {price} angekommen. Eine Lizenz gibt es deshalb "
        "noch nicht.",
        "short.next": "Ihr Geld ist nicht verloren. Zahlen Sie den Rest, oder bitten Sie uns, es zurückzuschicken: "
        "{support}",
        "short.page": "Ihr Kauf, und was fehlt",
        "reversed.subject": "Ihre Zahlung für {product} ging zurück",
        "reversed.suspended": "Die Zahlung für {product} wurde erstattet oder zurückgezogen. Die Lizenz ruht deshalb.",
        "reversed.revoked": "Die Zahlung für {product} wurde erstattet oder zurückgezogen. Die Lizenz ist deshalb "
        "nicht mehr gültig.",
        "reversed.renewal": "Die Zahlung für die Verlängerung von {product} wurde erstattet oder zurückgezogen. Die "
        "Lizenz gilt bis {valid_until}.",
        "reversed.none": "Die Zahlung für {product} wurde erstattet oder zurückgezogen. Eine Lizenz gibt es deshalb "
        "nicht.",
        "rotated.subject": "Ihre Lizenz für {product} hat einen neuen Schlüssel",
        "rotated.text": "Der Lizenzschlüssel für {product} wurde ersetzt. Der bisherige gilt online nicht mehr. Das "
        "ist der neue:",
        "transferred.subject": "Eine Lizenz für {product} gehört jetzt Ihnen",
        "transferred.text": "Eine Lizenz für {product} wurde auf Sie übertragen. Das ist ihr Schlüssel:",
        "expiring.subject": "Ihre Lizenz für {product} endet am {ends_at}",
        "expiring.text": "Ihre Lizenz für {product} endet am {ends_at}.",
        "expired.subject": "Ihre Lizenz für {product} endete am {ends_at}",
        "expired.text": "Ihre Lizenz für {product} endete am {ends_at}.",
        "expiry.grace": "Sie gilt noch bis {valid_until}.",
        "expiry.renew": "Hier verlängern",
        "expiry.page": "Ihre Lizenz",
        "suspended.subject": "Ihre Lizenz für {product} ruht",
        "suspended.text": "Ihre Lizenz für {product} ruht. Bis das aufgehoben wird, gilt ihr Schlüssel nicht.",
        "revoked.subject": "Ihre Lizenz für {product} ist nicht mehr gültig",
        "revoked.text": "Ihre Lizenz für {product} wurde widerrufen. Sie ist nicht mehr gültig.",
        "restored.subject": "Ihre Lizenz für {product} ist wieder gültig",
        "restored.text": "Ihre Lizenz für {product} ist wieder gültig. Das ist Ihr Lizenzschlüssel:",
        "status.wrong": "Wenn Sie das für einen Irrtum halten, schreiben Sie uns: {support}",
        "recovery.subject": "Ihre Käufe bei {seller}",
        "recovery.link": "Dieser Link zeigt alle Käufe Ihrer Adresse mit ihren Lizenzschlüsseln",
        "recovery.limit": "Er gilt einmal, bis {valid_until}.",
        "recovery.ignore": "Wenn Sie ihn nicht verlangt haben, brauchen Sie nichts zu tun. Niemand sonst hat diesen "
        "Link.",
        "test.subject": "Ein Test von {seller}",
        "test.text": "Diese Mail probiert den Mailserver aus. Wenn Sie sie lesen, funktioniert er.",
        "row.product": "Produkt",
        "row.policy": "Lizenz",
        "row.price": "Bezahlt",
        "row.bought_at": "Datum",
        "row.valid_until": "Gültig bis",
        "row.forever": "immer",
        "row.machines": "Geräte",
        "row.unlimited": "unbegrenzt",
        "row.entitlements": "Enthält",
        "row.invoice": "Bestellung",
        "foot.help": "Hilfe: {support}",
        "foot.why": "Sie bekommen diese Mail, weil diese Adresse bei einem Kauf bei {seller} angegeben wurde.",
    },
}  # fmt: skip
_GERMAN_NUMBERS = str.maketrans(",.", ".,")


def shown(value: object, language: str) -> str:
    """Return a value as a reader of the language writes it, on one line. Times are UTC."""
    if isinstance(value, Money):
        return str(value).translate(_GERMAN_NUMBERS) if language == "de" else str(value)
    if isinstance(value, datetime):
        whole_day = (value.hour, value.minute) == (0, 0)
        return f"{value:%Y-%m-%d}" if whole_day else f"{value:%Y-%m-%d %H:%M} UTC"
    return printable(str(value))


def text_of(language: str) -> Callable[..., str]:
    """Return a function that returns a text by its name, with its values filled in."""
    texts = TEXTS[language]

    def text(name: str, **values: object) -> str:
        return texts[name].format(**{key: shown(value, language) for key, value in values.items()})

    return text
