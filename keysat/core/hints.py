"""What a person may do next, by name. Each entry point puts it into its own words: a command, a field, a button."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import Protocol


class Hint(StrEnum):
    """The next step that an error or an alarm suggests. Its facts are in the comment, where it needs any."""

    LIST_ACCOUNTS = auto()
    LIST_API_KEYS = auto()
    LIST_CODES = auto()
    LIST_DELIVERIES = auto()
    LIST_ENDPOINTS = auto()
    LIST_INVOICES = auto()
    LIST_LICENSES = auto()
    LIST_MACHINES = auto()
    LIST_MAILS = auto()
    LIST_POLICIES = auto()  # product
    LIST_PRODUCTS = auto()
    LIST_TIPS = auto()

    START_DATABASE = auto()
    START_BROKER = auto()
    UPGRADE_SCHEMA = auto()
    RUN_DOCTOR = auto()

    CREATE_SIGNING_KEY = auto()
    RESTORE_SIGNING_KEY = auto()
    CREATE_SECRETS_KEY = auto()
    RESTORE_SECRETS_KEY = auto()
    SET_METRICS_DIR = auto()
    SET_PUBLIC_URL = auto()
    TRUST_AUTHORITY = auto()
    ALLOW_HTTP_ENDPOINTS = auto()

    GIVE_NOTE = auto()
    GIVE_NOTE_ON_TIP = auto()  # tip_id

    SELL_WITH_ACCOUNT = auto()
    TEST_ACCOUNT = auto()  # account
    CONNECT_ACCOUNT = auto()  # account
    RECONNECT_ACCOUNT = auto()  # account
    PAUSE_ACCOUNT = auto()  # account
    RESUME_ACCOUNT = auto()  # account
    RENEW_ACCOUNT = auto()  # account, where it is known
    SHOW_ACCOUNT_ERRORS = auto()

    ADD_POLICY = auto()  # product
    UNARCHIVE_PRODUCT = auto()  # product
    RECOUNT_CODE = auto()  # code

    RECONCILE_INVOICE = auto()  # invoice_id
    SETTLE_OR_DISMISS_INVOICE = auto()  # invoice_id
    RESTORE_INVOICE = auto()  # invoice_id
    RESTORE_OR_DISMISS_INVOICE = auto()  # invoice_id
    LIST_FAILING_INVOICES = auto()
    LIST_REVIEWS = auto()
    SHOW_LICENSE = auto()  # license_id
    UNSUSPEND_LICENSE = auto()

    FIND_TIP_PAYMENT = auto()  # tip_id
    LIST_FAILED_TIPS = auto()
    LIST_HELD_TIPS = auto()
    LIST_DEAD_LETTERS = auto()

    CONFIGURE_MAIL = auto()
    CORRECT_TEMPLATE = auto()
    LIST_DEAD_MAILS = auto()
    SECURE_MAIL = auto()


class Hinted(Protocol):
    """A sentence, by `str`, with the hint of a next step and the facts that the hint needs. An error is one."""

    @property
    def hint(self) -> Hint | None: ...
    @property
    def facts(self) -> Mapping[str, object]: ...


@dataclass(frozen=True)
class Advice:
    """A sentence that is no error, with its hint."""

    sentence: str
    hint: Hint | None = None
    facts: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence


def hint_fields(message: Hinted) -> dict[str, str]:
    """Return the hint and its facts as fields of a log line."""
    if message.hint is None:
        return {}
    return {"hint": str(message.hint), **{name: str(value) for name, value in message.facts.items()}}
