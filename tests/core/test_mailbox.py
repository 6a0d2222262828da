"""An address is one mailbox, its domain is in ASCII, and nothing in it can split a header or name another mailbox."""

import pytest

from keysat.core.errors import InvalidInput
from keysat.core.mailbox import parse_mailbox, parse_sender, same_buyer


@pytest.mark.parametrize(
    ("text", "address", "needs_utf8"),
    [
        ("buyer@example.com", "buyer@example.com", False),
        ("first.last+shop@sub.example.co.uk", "first.last+shop@sub.example.co.uk", False),
        ("o'neil@example.com", "o'neil@example.com", False),
        ("buyer@bücher.example", "buyer@xn--bcher-kva.example", False),
        ("buyer@例え.テスト", "buyer@xn--r8jz45g.xn--zckzah", False),
        ("jürgen@example.com", "jürgen@example.com", True),
    ],
)
def test_address_is_taken(text, address, needs_utf8):
    mailbox = parse_mailbox(text)
    assert (mailbox.address, mailbox.needs_utf8) == (address, needs_utf8)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "buyer",
        "@example.com",
        "buyer@",
        "buyer@localhost",
        "buyer@[127.0.0.1]",
        "buyer@exa mple.com",
        "buyer@example.com.",
        "buyer@-example.com",
        "a@b@example.com",
        "buyer,other@example.com",
        "buyer;other@example.com",
        "<buyer@example.com>",
        "buyer@example.com>",
        '"quoted"@example.com',
        ".buyer@example.com",
        "buyer\r\nBcc: other@example.com",
        "buyer@example.com\r\nBcc: other@example.com",
        "buyer@example.com\n",
        "buyer\N{LINE SEPARATOR}@example.com",
        f"{'x' * 65}@example.com",
        f"buyer@{'x' * 64}.example",
    ],
)
def test_address_is_refused(text):
    with pytest.raises(InvalidInput, match="no mail can be sent to"):
        parse_mailbox(text)


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("licenses@shop.example", "licenses@shop.example"),
        ("The shop <licenses@shop.example>", "The shop <licenses@shop.example>"),
        ('"Bits, Bytes" <licenses@shop.example>', '"Bits, Bytes" <licenses@shop.example>'),
        ("Bücher <licenses@bücher.example>", "Bücher <licenses@xn--bcher-kva.example>"),
    ],
)
def test_sender_may_have_a_name(text, header):
    assert str(parse_sender(text).header) == header


@pytest.mark.parametrize("text", ["a\nb <x@shop.example>", "a <x@shop.example> b", "a <b <x@shop.example>>", "shop"])
def test_sender_is_one_mailbox(text):
    with pytest.raises(InvalidInput):
        parse_sender(text)


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("Buyer@Example.COM", "buyer@example.com"),
        ("buyer+shop@example.com", "buyer@example.com"),
        ("buyer+a+b@example.com", "buyer@example.com"),
        ("+buyer@example.com", "+buyer@example.com"),
        ("käufer@bücher.example", "käufer@xn--bcher-kva.example"),
    ],
)
def test_same_buyer(address, same):
    assert same_buyer(address) == same
