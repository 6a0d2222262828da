"""The title of each state of a purchase, in each language, as buyers have to read it."""

from keysat.operations.why import State

_BY_HAND = {"en": "Your payment is being looked at", "de": "Ihre Zahlung wird geprüft"}
_WAITING = {"en": "Waiting for your payment", "de": "Wir warten auf Ihre Zahlung"}
_NOT_ASKED = {
    "en": "The payment provider can\N{RIGHT SINGLE QUOTATION MARK}t be asked at the moment",
    "de": "Der Zahlungsdienst kann zurzeit nicht gefragt werden",
}
_NO_RESPONSE = {
    "en": "The payment provider doesn\N{RIGHT SINGLE QUOTATION MARK}t respond",
    "de": "Der Zahlungsdienst antwortet nicht",
}
_DISMISSED = {"en": "The seller closed this purchase", "de": "Der Verkäufer hat diesen Kauf beendet"}
_LICENSED = {"en": "Thank you, here is your license", "de": "Vielen Dank, hier ist Ihre Lizenz"}

TITLES = {
    State.REVERSED: {"en": "Your payment went back", "de": "Ihre Zahlung ging zurück"},
    State.SETTLED_AGAIN: _BY_HAND,
    State.SHORT: {"en": "Your payment was too small", "de": "Ihre Zahlung war zu niedrig"},
    State.LATE: {"en": "Your payment came after the deadline", "de": "Ihre Zahlung kam nach der Frist"},
    State.NEVER_CONFIRMED: {
        "en": "Your payment isn\N{RIGHT SINGLE QUOTATION MARK}t confirmed yet",
        "de": "Ihre Zahlung ist noch nicht bestätigt",
    },
    State.OTHER_CURRENCY: _BY_HAND,
    State.REFUNDED: {"en": "Your payment was sent back", "de": "Ihre Zahlung wurde zurückgeschickt"},
    State.INVALIDATED: {
        "en": "Your payment was declared invalid",
        "de": "Ihre Zahlung wurde für ungültig erklärt",
    },
    State.IN_REVIEW: _BY_HAND,
    State.EXCESS: _DISMISSED,  # the page is that of the purchase
    State.DISMISSED: _DISMISSED,
    State.CREDITED: _LICENSED,  # the page is that of the purchase which the rest completes
    State.LICENSED: _LICENSED,
    State.LICENSE_DUE: {"en": "Paid, thank you", "de": "Bezahlt, vielen Dank"},
    State.NEVER_MADE: {
        "en": "The payment could not be prepared",
        "de": "Die Zahlung konnte nicht vorbereitet werden",
    },
    State.ACCOUNT_REJECTED: _NOT_ASKED,
    State.ACCOUNT_PAUSED: _NOT_ASKED,
    State.ACCOUNT_FAILING: _NO_RESPONSE,
    State.STUCK: _NO_RESPONSE,
    State.OVERDUE: {
        "en": "Waiting for news of your payment",
        "de": "Wir warten auf Nachricht von Ihrer Zahlung",
    },
    State.PART_PAID: {"en": "A part of your payment arrived", "de": "Ein Teil Ihrer Zahlung ist da"},
    State.SEEN: {"en": "Payment seen", "de": "Zahlung gesehen"},
    State.UNCHECKED: _WAITING,
    State.EXPIRED: {"en": "The time to pay is over", "de": "Die Zeit zum Bezahlen ist um"},
    State.INVALID: {"en": "This payment is no longer possible", "de": "Diese Zahlung ist nicht mehr möglich"},
    State.WAITING: _WAITING,
}
# Of a license that isn't valid, and of an invoice that the provider is still creating.
OTHER_TITLES = {
    "suspended": {"en": "This license is suspended", "de": "Diese Lizenz ist ausgesetzt"},
    "revoked": {"en": "This license was revoked", "de": "Diese Lizenz wurde widerrufen"},
    "transferred": {"en": "This license was transferred", "de": "Diese Lizenz wurde übertragen"},
    "ended": {"en": "This license is over", "de": "Diese Lizenz ist abgelaufen"},
    "preparing": {"en": "Your payment is being prepared", "de": "Ihre Zahlung wird vorbereitet"},
}
