"""Render a mail from its template: the subject, and the body twice, as plain text and as HTML.

A template calls the macros of `part`, which exist once for text and once for HTML. An operator's folder may replace any
file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, TemplateError
from jinja2.loaders import BaseLoader

from keysat.core.errors import SettingsError
from keysat.core.hints import Hint
from keysat.core.texts import printable
from keysat.mail.facts import Facts
from keysat.mail.texts import shown, text_of

_OWN = Path(__file__).parent / "templates"
_BLANK_LINES = re.compile(r"\n{3,}")


class TemplateBroken(SettingsError):
    """A mail's template can't be read or rendered."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"the mail template {name} can't be used ({cause}).", Hint.CORRECT_TEMPLATE)


@dataclass(frozen=True)
class Rendered:
    """A mail's subject, on one line, and its two bodies."""

    subject: str
    text: str
    html: str


class Templates:
    """The templates of this process. `folder` has the operator's own, or is None."""

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None and not folder.is_dir():
            raise TemplateBroken(str(folder), "it is no folder")
        loader = ChoiceLoader([FileSystemLoader(path) for path in (folder, _OWN) if path is not None])
        self._bodies = {"txt": _environment(loader, is_html=False), "html": _environment(loader, is_html=True)}

    def render(self, name: str, language: str, facts: Facts) -> Rendered:
        """Render a template for a reader of a language.

        Raises:
            TemplateBroken: a template has an error, or names a value that it isn't given.
        """
        subject, text = self._body("txt", name, language, facts)
        _, html = self._body("html", name, language, facts)
        return Rendered(subject, _BLANK_LINES.sub("\n\n", text).strip() + "\n", html)

    def _body(self, form: str, name: str, language: str, facts: Facts) -> tuple[str, str]:
        environment = self._bodies[form]
        given = {"t": text_of(language), "show": partial(shown, language=language), "language": language, **facts}
        try:
            parts = environment.get_template(f"parts.{form}.jinja").make_module(given)
            body = environment.get_template(f"{name}.jinja").make_module({**given, "part": parts})
            subject = printable(str(getattr(body, "subject", name)))
            layout = environment.get_template(f"layout.{form}.jinja")
            return subject, layout.render({**given, "part": parts, "subject": subject, "content": body})
        except (TemplateError, OSError, KeyError, TypeError, ValueError, AttributeError, UnicodeDecodeError) as error:
            cause = f"{type(error).__name__}: {printable(str(error))}"
            raise TemplateBroken(f"{name}.jinja", cause) from error


def _environment(loader: BaseLoader, *, is_html: bool) -> Environment:
    return Environment(
        loader=loader,
        autoescape=is_html,  # noqa: S701 - plain text has nothing to escape
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
