"""Reads the fields of control requests. Errors state in one sentence what is wrong with a field."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NoReturn

from keysat.core.errors import InvalidInput


def parse_json(body: bytes) -> Any:
    """Decode a request's body. Numbers with a decimal point become Decimal. An empty body is an empty object.

    Raises:
        InvalidInput: the body isn't JSON.
    """
    try:
        return json.loads(body or b"{}", parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise InvalidInput("the body is not JSON.") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


class Fields:
    """An object with known fields. Each reader raises InvalidInput for an invalid value."""

    def __init__(self, value: object, what: str, known: Sequence[str]) -> None:
        """`what` is the object's name in errors. A field that isn't in `known` is rejected."""
        if not isinstance(value, dict):
            raise InvalidInput(f"{what} has to be a JSON object.")
        for name in value:
            if name not in known:
                raise InvalidInput(f"{what} has no field {name!r}; it knows {', '.join(known) or 'none'}.")
        self._value, self._what = value, what

    def has(self, name: str) -> bool:
        return self._value.get(name) is not None

    def any(self, name: str, default: object = None) -> Any:
        return self._value.get(name, default)

    def text(self, name: str) -> str:
        value = self._value.get(name)
        return value if isinstance(value, str) and value else self._refuse(name, "a text")

    def text_or_none(self, name: str) -> str | None:
        return self.text(name) if self.has(name) else None

    def flag(self, name: str) -> bool:
        """Return a boolean, or false if the field is missing."""
        value = self._value.get(name, False)
        return value if isinstance(value, bool) else self._refuse(name, "true or false")

    def number(self, name: str, default: float | None = None, *, maximum: float = math.inf) -> float:
        """Return a number from 0 to `maximum`. A missing field is `default`, or is rejected if that is None."""
        value = self._value.get(name, default)
        limit = "" if math.isinf(maximum) else f" up to {maximum:g}"
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not 0 <= value <= maximum:
            self._refuse(name, f"a number of at least 0{limit}")
        return float(value)

    def whole(self, name: str, default: int | None = None, *, minimum: int = 0, maximum: int = 2**31) -> int:
        """Return an integer in a range. A missing field is `default`, or is rejected if that is None."""
        value = self._value.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            self._refuse(name, f"a whole number from {minimum} to {maximum}")
        return value

    def items(self, name: str) -> list[Any]:
        """Return a list, or an empty one if the field is missing."""
        value = self._value.get(name, [])
        return value if isinstance(value, list) else self._refuse(name, "a list")

    def _refuse(self, name: str, wanted: str) -> NoReturn:
        raise InvalidInput(f"{name!r} of {self._what} has to be {wanted}.")
