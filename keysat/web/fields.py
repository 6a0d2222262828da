"""The shapes of texts in requests. What a table or a terminal would choke on is refused before it gets anywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, StringConstraints

from keysat.money import DECIMALS

_LINE = r"^[^\x00-\x1f\x7f]*$"
_LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it is not valid Unicode") from None
    return text


def _in_utc(when: datetime) -> datetime:
    try:
        return when.astimezone(UTC)  # PostgreSQL takes fewer offsets than Python
    except OverflowError:
        raise ValueError("it is out of range") from None


class Input(BaseModel):
    """A request's body: JSON of exactly these fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


# A line that shows something.
Name = Annotated[
    str,
    StringConstraints(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"),
    AfterValidator(_encodable),
]
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Line = Annotated[str, StringConstraints(max_length=500, pattern=_LINE), AfterValidator(_encodable)]
Lines = Annotated[str, StringConstraints(max_length=5_000, pattern=_LINES), AfterValidator(_encodable)]
KeyText = Annotated[str, AfterValidator(_encodable)]
# Whatever text a program takes for its machine's, a line break of a file included: it is hashed as it comes.
Fingerprint = Annotated[str, StringConstraints(min_length=1, max_length=1_000), AfterValidator(_encodable)]
HostText = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=500, pattern=_LINE), AfterValidator(_encodable)
]
Email = Annotated[
    str,
    StringConstraints(max_length=254, pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+\.[^@\s\x00-\x1f\x7f.]+$"),
    AfterValidator(_encodable),
]
HttpUrl = Annotated[
    str, StringConstraints(max_length=2_000, pattern=r"^https?://[^\s\x00-\x1f\x7f]+$"), AfterValidator(_encodable)
]
Currency = Annotated[str, StringConstraints(pattern=f"^({'|'.join(DECIMALS)})$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
