"""E-mail addresses as mail servers take them: one mailbox, its domain in ASCII, and nothing that splits a header."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.headerregistry import Address

import idna

from keysat.core.errors import InvalidInput
from keysat.core.texts import MAX_EMAIL, check_line

_MAX_LOCAL, _MAX_DOMAIN = 64, 253
# A dot-atom of RFC 5322 and, as of RFC 6531, letters beyond ASCII. Nobody uses the quoted forms, which hide others.
_LOCAL = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*")
_NAMED = re.compile(r'\s*(?:"(?P<quoted>[^"\\]*)"|(?P<plain>[^"<>@]*?))\s*<(?P<address>[^<>]*)>\s*')


@dataclass(frozen=True)
class Mailbox:
    """An address. `domain` is in ASCII, with IDNA 2008 for other letters. `name` is what people see, or empty."""

    local: str
    domain: str
    name: str = ""

    @property
    def address(self) -> str:
        """The address as an SMTP server takes it."""
        return f"{self.local}@{self.domain}"

    @property
    def needs_utf8(self) -> bool:
        """Whether only a server with SMTPUTF8 can take it. A domain never needs that."""
        return not self.local.isascii()

    @property
    def header(self) -> Address:
        """The address for a header."""
        return Address(self.name, self.local, self.domain)


def parse_mailbox(text: str) -> Mailbox:
    """Read `buyer@example.com`.

    Raises:
        InvalidInput: it isn't the address of one mailbox.
    """
    local, _, domain = text.rpartition("@")
    if not _LOCAL.fullmatch(local) or len(local.encode()) > _MAX_LOCAL:
        raise InvalidInput(f"no mail can be sent to {text[:60]!r}: what is before the @ is no mailbox's name.")
    try:
        ascii_domain = idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        ascii_domain = ""
    if "." not in ascii_domain.strip(".") or len(ascii_domain) > _MAX_DOMAIN or ascii_domain.endswith("."):
        raise InvalidInput(f"no mail can be sent to {text[:60]!r}: what is after the @ is no domain.")
    return Mailbox(local, ascii_domain)


def check_email(text: str) -> str:
    """Check that mail can be addressed to an e-mail address. Raises InvalidInput."""
    check_line(text, "the e-mail address", MAX_EMAIL)
    try:
        parse_mailbox(text)
    except InvalidInput:
        raise InvalidInput(f"{text[:60]!r} is no e-mail address; it must look like buyer@example.com.") from None
    return text


def same_buyer(text: str) -> str:
    """Return what the addresses of one mailbox have in common: lower case, an ASCII domain, nothing behind a "+".

    Raises:
        InvalidInput: it isn't the address of one mailbox.
    """
    found = parse_mailbox(text)
    local = found.local.casefold()
    return f"{local.partition('+')[0] or local}@{found.domain.lower()}"


def in_small_letters(text: str) -> str:
    """Return an address with its ASCII letters in lower case, which is what any database's `lower` does at least.

    Further letters stay, as only some databases lower them. To compare addresses, let the database lower both.
    """
    return "".join(letter.lower() if letter.isascii() else letter for letter in text.strip())


def parse_sender(text: str) -> Mailbox:
    """Read `licenses@example.com` or `The shop <licenses@example.com>`. Raises InvalidInput."""
    named = _NAMED.fullmatch(text)
    if named is None:
        return parse_mailbox(text.strip())
    name = named["quoted"] if named["quoted"] is not None else named["plain"]
    if not name.isprintable():
        raise InvalidInput("the name beside the address has line breaks or control characters; leave them out.")
    found = parse_mailbox(named["address"].strip())
    return Mailbox(found.local, found.domain, name)
