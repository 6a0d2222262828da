"""Check and display untrusted texts: names, notes, addresses and URLs. Lengths are in bytes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from keysat.core.errors import InvalidInput

MAX_NAME = 500
MAX_NOTE = 5_000
MAX_EMAIL = 254
MAX_URL = 2_000
_URL = re.compile(r"https?://[^\s]+")
_LINE_ENDS = "\n\r\t"
_FORMULA = ("=", "+", "-", "@")


def printable(text: str) -> str:
    """Return the text on one line, with a mark in place of each character that acts upon a terminal, a log or a table.

    These are control characters, escapes, line separators, direction marks, and zero-width characters.
    """
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def csv_cell(value: object) -> object:
    """Return a cell that no spreadsheet parses as a formula (OWASP, CSV injection)."""
    text = printable(value) if isinstance(value, str) else value
    return f"'{text}" if isinstance(text, str) and text[:1] in _FORMULA else text


def check_name(text: str, what: str = "the name") -> str:
    """Check a line, which must have a visible character. Raises InvalidInput."""
    check_line(text, what, MAX_NAME)
    if not any(unicodedata.category(char)[0] not in "ZC" for char in text):
        raise InvalidInput(f"{what} is what people see; it can't be empty.")
    return text


def check_line(text: str, what: str, max_bytes: int = MAX_NAME) -> str:
    """Check a text of one line, without control characters. It may be empty. Raises InvalidInput."""
    if any(unicodedata.category(char) == "Cc" for char in text):
        raise InvalidInput(f"{what} has line breaks or control characters; leave them out.")
    return _check_size(text, what, max_bytes)


def check_note(text: str, what: str = "the note", max_bytes: int = MAX_NOTE) -> str:
    """Check a text of any number of lines, without other control characters. Raises InvalidInput."""
    if any(unicodedata.category(char) == "Cc" and char not in _LINE_ENDS for char in text):
        raise InvalidInput(f"{what} has control characters; leave them out.")
    return _check_size(text, what, max_bytes)


def check_entitlements(slugs: Sequence[str]) -> None:
    """Check that a license key has room for these entitlements. Raises InvalidInput."""
    for slug in slugs:
        check_line(slug, "an entitlement")
    if len(slugs) > 255 or any(not 0 < len(slug.encode()) <= 255 for slug in slugs):
        raise InvalidInput("a policy or license has at most 255 entitlements of 1 to 255 bytes each.")


def check_http_url(text: str) -> str:
    """Check an http or https URL. Raises InvalidInput."""
    check_line(text, "the URL", MAX_URL)
    if not _URL.fullmatch(text):
        raise InvalidInput(f"the URL {text[:60]!r} must start with https:// or http://.")
    return text


def _check_size(text: str, what: str, max_bytes: int) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput(f"{what} is not valid Unicode.") from None
    if size > max_bytes:
        raise InvalidInput(f"{what} has {size:,} bytes; {max_bytes:,} are allowed.")
    return text
