"""The texts of the pages, in the buyer's language, with money, dates and numbers as that language writes them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import Request
from markupsafe import Markup

from keysat.core.money import Money
from keysat.core.texts import printable

LANGUAGES = ("en", "de")
_STEPS = (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))


@dataclass(frozen=True)
class Texts:
    """The catalog of one language. Facts are escaped, the catalog's own markup isn't."""

    language: str

    def __call__(self, key: str, **facts: object) -> Markup:
        """Return a text with its facts."""
        return Markup(catalog(self.language)[key]).format(**facts)  # noqa: S704 - the catalog is ours, facts are escaped

    def plain(self, key: str, **facts: object) -> str:
        """Return a text for a place without markup."""
        return printable(catalog(self.language)[key].format(**facts))

    def count(self, key: str, number: int) -> Markup:
        """Return the text for a number of things."""
        return self(f"{key}.one" if number == 1 else f"{key}.other", number=self.number(number))

    def number(self, number: int) -> str:
        """Format a whole number."""
        return f"{number:,}".replace(",", catalog(self.language)["format.thousands"])

    def decimal(self, number: Decimal) -> str:
        """Format a number with decimals, without zeros at its end."""
        return f"{number.normalize():f}".replace(".", catalog(self.language)["format.decimal"])

    def money(self, money: Money) -> str:
        """Format a price: 21,000 sat, 19.99 EUR, Free."""
        return self.amount(money) if money.amount else catalog(self.language)["format.free"]

    def amount(self, money: Money) -> str:
        """Format an amount, also one of 0."""
        texts = catalog(self.language)
        marks = str.maketrans({",": texts["format.thousands"], ".": texts["format.decimal"]})
        return str(money).translate(marks).replace(" ", "\N{NO-BREAK SPACE}")

    def date(self, when: datetime) -> str:
        """Format the date of a time in UTC."""
        when = when.astimezone(UTC)
        months = catalog(self.language)["format.months"].split()
        return self.plain("format.date", day=when.day, month=months[when.month - 1], year=when.year)

    def moment(self, when: datetime) -> str:
        """Format the date and the time of a time in UTC."""
        return f"{self.date(when)}, {self._clock(when)}"

    def until(self, end: datetime, now: datetime) -> str:
        """Format a coming time in UTC, with its date unless it is today."""
        today = end.astimezone(UTC).date() == now.astimezone(UTC).date()
        return self._clock(end) if today else self.moment(end)

    def _clock(self, when: datetime) -> str:
        return self.plain("format.time", time=f"{when.astimezone(UTC):%H:%M}")

    def ago(self, age: timedelta) -> Markup:
        """Format how long ago something was."""
        seconds = int(age.total_seconds())
        step, size = next(((name, size) for name, size in _STEPS if seconds >= size), ("", 1))
        return self.count(f"ago.{step}", seconds // size) if step else self("ago.now")


@cache
def catalog(language: str) -> Mapping[str, str]:
    """Return the texts of a language by their dotted keys."""
    source = files("keysat.web.pages").joinpath(f"texts/{language}.toml").read_text(encoding="utf-8")
    return dict(_flat(tomllib.loads(source)))


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def chosen_language(request: Request) -> str | None:
    """Return the language that the address asks for by `?lang=`, or None."""
    wanted = request.query_params.get("lang", "")
    return wanted if wanted in LANGUAGES else None


def in_language(request: Request, url: str) -> str:
    """Return a URL without a query, in the language that the buyer chose."""
    chosen = chosen_language(request)
    return f"{url}?lang={chosen}" if chosen else url


def texts_for(request: Request) -> Texts:
    """Return the texts in the language of the address, else in the best one that the browser accepts."""
    return Texts(chosen_language(request) or _accepted(request.headers.get("accept-language", "")))


def _accepted(header: str) -> str:
    weights: dict[str, float] = {}
    for part in header[:500].split(","):
        name, _, quality = part.partition(";q=")
        language = name.strip().lower().partition("-")[0]
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            weight = 0.0
        if language in LANGUAGES and weight > weights.get(language, 0.0):
            weights[language] = weight
    return max(weights, key=lambda language: weights[language], default=LANGUAGES[0])
