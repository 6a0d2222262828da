"""Templates: one source for text and HTML, in each language, and an operator's own in their place."""

import html
import re
import string
from pathlib import Path

import pytest

from keysat.core.errors import SettingsError
from keysat.mail.render import TemplateBroken, Templates
from keysat.mail.samples import SAMPLES, check_templates
from keysat.mail.texts import TEXTS
from keysat.models.mail import MailKind
from keysat.web import pages
from tests.markup import faults

FACTS = {"seller": "Bits & Bytes", "support": "help@shop.example"}


def render(name, language="en", folder=None, **facts):
    return Templates(folder).render(name, language, {**FACTS, **SAMPLES[name], **facts})


def fields(text):
    return {field for _, field, _, _ in string.Formatter().parse(text) if field}


def test_each_language_has_each_text_with_the_same_values():
    assert TEXTS["de"].keys() == TEXTS["en"].keys()
    assert {name for name, text in TEXTS["en"].items() if fields(text) != fields(TEXTS["de"][name])} == set()


def test_each_kind_has_a_sample():
    assert set(MailKind) < set(SAMPLES)


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("name", SAMPLES)
def test_text_and_html_say_the_same(name, language):
    found = render(name, language)
    shown = set(html.unescape(re.sub(r"<title.*?</title>|<[^>]+>", " ", found.html)).split())
    links = set(re.findall(r"https://\S+", found.text))
    missing = {word.rstrip(":") for word in found.text.split()} - {word.rstrip(":") for word in shown}
    assert missing - links - {"--"} == set()
    assert set(re.findall(r'href="([^"]+)"', found.html)) == links
    assert f'<html lang="{language}">' in found.html
    assert all(len(line) <= 72 or "https://" in line for line in found.text.splitlines())


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("name", SAMPLES)
def test_html_is_valid(name, language):
    assert faults(render(name, language).html) == []


def test_values_are_escaped_in_html_alone():
    found = render("receipt", product="<b>Editor</b>", page='https://shop.example/"><script>')
    assert "<b>Editor</b>" in found.text
    assert found.subject == "Your license for <b>Editor</b>"
    assert "<b>Editor" not in found.html
    assert "<script>" not in found.html


def test_values_stay_on_their_line():
    found = render("receipt", product="Editor\nBcc: x@example.com", policy="Pro\n\nKey: LIC1-FORGED")
    assert "\n" not in found.subject
    assert "\nBcc:" not in found.text
    assert "\nKey:" not in found.text


def test_free_perpetual_license_has_no_price_and_no_end():
    found = render("receipt", price=None, valid_until=None, machines=0, entitlements="")
    assert "Paid" not in found.text
    assert "Valid until: forever" in found.text
    assert "Machines: unlimited" in found.text


def test_german_numbers_are_german():
    assert "20.000 sat" in render("short", "de").text


def test_file_in_the_folder_replaces_one(tmp_path):
    (tmp_path / "receipt.jinja").write_text('{% set subject = "Hello" %}{{ part.paragraph("Key: " ~ key) }}')
    (tmp_path / "layout.txt.jinja").write_text("{{ content }}Yours, {{ seller }}")
    found = render("receipt", folder=tmp_path)
    assert found.subject == "Hello"
    assert found.text == "Key: LIC1-SAMPLE\n\nYours, Bits & Bytes\n"
    assert "<p" in found.html
    assert render("seen", folder=tmp_path).text.endswith("Yours, Bits & Bytes\n")


@pytest.mark.parametrize(
    "source", ["{{ part.paragraph(keey) }}", "{% if %}", "{{ t('no.such') }}", "{{ part.paragraph(t('foot.help')) }}"]
)
def test_broken_template_is_named_at_the_start(mail_on, tmp_path, source):
    (tmp_path / "seen.jinja").write_text(source)
    with pytest.raises(TemplateBroken, match=r"the mail template seen\.jinja can't be used") as broken:
        check_templates(mail_on.model_copy(update={"mail_templates": tmp_path}))
    assert isinstance(broken.value, SettingsError)


def test_folder_must_be_there(mail_on, tmp_path):
    with pytest.raises(TemplateBroken, match="it is no folder"):
        check_templates(mail_on.model_copy(update={"mail_templates": tmp_path / "nowhere"}))


def test_nothing_is_checked_while_mail_is_off(settings, tmp_path):
    check_templates(settings.model_copy(update={"mail_templates": tmp_path / "nowhere"}))


def test_german_mail_is_formal_as_the_pages_are():
    """Each text of both catalogs."""
    shown = (Path(pages.__file__).parent / "texts" / "de.toml").read_text()
    informal = re.compile(r"\b(?:du|dein\w*|dir|dich)\b", re.IGNORECASE)
    assert informal.findall(shown + " ".join(TEXTS["de"].values())) == []
