"""What the API refuses, the command line refuses, too."""

import pytest

from tests.builders import make_shop

pytestmark = pytest.mark.usefixtures("empty_database", "fake")

REFUSED = [
    (("invoice", "open", "editor", "--email", "nobody"), "e-mail"),
    (("invoice", "open", "editor", "--email", "a b@example.com"), "e-mail"),
    (("invoice", "open", "editor", "--email", "a\x1b[31m@example.com"), "control characters"),
    (("invoice", "open", "editor", "--email", "x" * 250 + "@example.com"), "bytes"),
    (("invoice", "open", "editor", "--note", "ü" * 2_501), "bytes"),
    (("product", "add", "viewer", "--price", "5", "--name", "   "), "empty"),
    (("product", "add", "viewer", "--price", "5", "--name", "\u200b\u2060"), "empty"),
    (("product", "add", "viewer", "--price", "5", "--name", "x" * 501), "bytes"),
    (("product", "add", "viewer", "--price", "5", "--name", "two\nlines"), "line breaks"),
    (("product", "add", "viewer", "--price", "5", "--description", "x" * 5_001), "bytes"),
    (("product", "edit", "editor", "--name", "\t"), "line breaks"),
    (("policy", "add", "editor", "pro", "--name", "x" * 501), "bytes"),
    (("policy", "edit", "editor", "standard", "--name", " "), "empty"),
    (("code", "add", "OLD", "--percent", "5", "--expires", "2020-01-01"), "passed"),
    (("code", "add", "LONG", "--percent", "5", "--description", "x" * 5_001), "bytes"),
]


@pytest.mark.parametrize(("words", "complaint"), REFUSED, ids=lambda value: " ".join(value)[:40] if value else "")
def test_command_line_refuses_what_the_api_refuses(keysat, words, complaint):
    make_shop()
    refused = keysat(*words)
    assert refused.code == 1
    assert complaint in refused.refusal
