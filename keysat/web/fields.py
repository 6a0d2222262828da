"""Types of request fields. Text that a table or a terminal can't handle is refused on input."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from keysat.core.errors import InvalidInput
from keysat.core.mailbox import check_email
from keysat.core.money import DECIMALS
from keysat.core.texts import MAX_EMAIL, MAX_NAME, MAX_NOTE, MAX_URL

# For use inside a character class: spaces and control characters.
_NEVER = r"\s\x00-\x1f\x7f-\x9f"
_LINE = r"^[^\x00-\x1f\x7f-\x9f]*$"
_LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it is not valid Unicode") from None
    return text


def _bytes(limit: int) -> AfterValidator:
    """Return a validator: valid Unicode, at most `limit` bytes of UTF-8."""

    def check(text: str) -> str:
        if len(_encodable(text).encode()) > limit:
            raise ValueError(f"it has more than {limit:,} bytes")
        return text

    return AfterValidator(check)


def _mailable(text: str) -> str:
    try:
        return check_email(text)
    except InvalidInput as error:
        raise ValueError(str(error).removesuffix(".")) from None


def _hashable(text: str) -> str:
    cleaned = "".join(text.split()).lower()
    if re.fullmatch("[0-9a-f]{64}", cleaned) is None:
        raise ValueError("it has to have 64 hexadecimal digits")
    return cleaned


def _in_utc(when: datetime) -> datetime:
    try:
        return when.astimezone(UTC)  # PostgreSQL accepts fewer offsets than Python
    except OverflowError:
        raise ValueError("it is out of range") from None


class Input(BaseModel):
    """Base of request bodies: JSON with exactly these fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class PublicInput(Input):
    """Base of public request bodies, as published clients may send them.

    Unknown fields are ignored. Texts are trimmed, and blank ones are treated as left out. Fields in `AS_IT_COMES` are
    not trimmed.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _tidy(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        trimmed = {name: _trimmed(name, value) for name, value in given.items()}
        return {name: value for name, value in trimmed.items() if value is not None}


# Programs also hash a machine's fingerprint offline, and both hashes must be equal.
AS_IT_COMES = {"fingerprint"}


def _trimmed(name: str, value: Any) -> Any:
    if not isinstance(value, str) or (name in AS_IT_COMES and value):
        return value
    return value.strip() or (value.strip() if name == "key" else None)  # a blank key is a key in a bad format


# Default of a field that changes nothing when left out. It is never read, and not part of the schema.
UNCHANGED: Any = None


class Changes(Input):
    """Base of request bodies that change a row. Fields left out stay unchanged. The schema has no defaults."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler.resolve_ref_schema(handler(schema))
        for field in described.get("properties", {}).values():
            field.pop("default", None)
        return described

    def changes(self, *settings: str) -> dict[str, Any]:
        """Return the given fields, without `settings`, which are not part of the row."""
        return self.model_dump(exclude_unset=True, exclude=set(settings))


# A line that isn't blank.
Name = Annotated[
    str,
    StringConstraints(max_length=500, pattern=r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"),
    _bytes(MAX_NAME),
]
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Line = Annotated[str, StringConstraints(max_length=500, pattern=_LINE), _bytes(MAX_NAME)]
Lines = Annotated[str, StringConstraints(max_length=5_000, pattern=_LINES), _bytes(MAX_NOTE)]
KeyText = Annotated[str, AfterValidator(_encodable)]
# Any text that a program uses for its machine, including a file's line break. It is hashed unchanged.
Fingerprint = Annotated[str, StringConstraints(min_length=1, max_length=1_000), AfterValidator(_encodable)]
HostText = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500, pattern=_LINE), _bytes(MAX_NAME)]
Email = Annotated[
    str,
    StringConstraints(max_length=MAX_EMAIL),
    _bytes(MAX_EMAIL),
    AfterValidator(_mailable),
    Field(json_schema_extra={"format": "email"}),
]
# 32 bytes in hexadecimal digits of either case, as wallets show them, with or without spaces. Without them here.
Preimage = Annotated[
    str,
    StringConstraints(max_length=500),
    AfterValidator(_hashable),
    Field(json_schema_extra={"pattern": r"^\s*([0-9A-Fa-f]\s*){64}$"}),
]
HttpUrl = Annotated[
    str, StringConstraints(max_length=2_000, pattern=r"^https?://[^\s\x00-\x1f\x7f-\x9f]+$"), _bytes(MAX_URL)
]
Currency = Annotated[str, StringConstraints(pattern=f"^({'|'.join(DECIMALS)})$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
