"""Types of settings. Each validates a variable's text, or explains in half a sentence what is wrong with it."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator

from keysat.core.errors import InvalidInput
from keysat.core.mailbox import parse_sender

_PLAIN_RATE = re.compile(r"[1-9][0-9]*/(second|minute|hour|day)")
_ESCAPED = "in a password write / as %2F, @ as %40, ? as %3F and # as %23"


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"{path} names the home of a user who doesn't exist") from None


def _psycopg2(url: str) -> str:
    """Select the driver psycopg2, because SQLAlchemy 2.1 uses psycopg 3 for a bare postgresql://."""
    from sqlalchemy import make_url  # noqa: PLC0415 - not all processes need its 12 MB
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - see above

    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        parts = make_url("unreadable://")
    if parts.drivername not in {"postgres", "postgresql", "postgresql+psycopg2"}:
        raise ValueError("it must look like postgresql://user:password@host:5432/name")
    if "@" in (parts.host or ""):  # the end of the password, which errors would show as the host
        raise ValueError(f"it has more than one @; {_ESCAPED}")
    return f"postgresql+psycopg2://{url.partition('://')[2]}"


def _redis(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in {"redis", "rediss", "redis+socket"}:
        raise ValueError("it must look like redis://host:6379/0, rediss://... or redis+socket:///path")
    if scheme != "redis+socket" and not _ends_its_password(url):
        raise ValueError(f"its host or port can't be read; {_ESCAPED}")
    return url


def _ends_its_password(url: str) -> bool:
    """Whether no part of the password would be parsed as the host, the port or the path, which errors show."""
    parts = urlsplit(url)
    try:
        return parts.port != 0 and "@" not in parts.path + parts.query + parts.fragment
    except ValueError:
        return False


def _http(url: str) -> str:
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        named = parts.scheme in {"http", "https"} and parts.hostname and not parts.username
        usable = not url or (named and not parts.query and not parts.fragment)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("it must look like https://license.example.com, without password or query")
    return url


def _networks(text: str) -> str:
    for part in filter(None, map(str.strip, text.split(","))):
        try:
            ip_network(part)
        except ValueError:
            raise ValueError(f"{part} is no IP address or network, as 10.0.0.0/8") from None
    return text


def _rate(text: str) -> str:
    if _PLAIN_RATE.fullmatch(text):
        return text
    from limits import parse  # noqa: PLC0415 - it imports a dozen storages, and few rates need it

    try:
        parse(text)
    except ValueError:
        raise ValueError("it must look like 30/minute or 5/second") from None
    return text


def _color(text: str) -> str:
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError("it must look like #0f6fde")
    return text.lower()


def _address(text: str) -> str:
    if text and not re.fullmatch(r"[^@\s<>\"']+@[^@\s<>\"']+\.[^@\s.<>\"']+", text):
        raise ValueError("it must look like help@example.com")
    return text


def _smtp(url: str) -> str:
    if not url:
        return url
    user = password = ""
    try:
        parts = urlsplit(url)
        named = parts.scheme in {"smtp", "smtps"} and bool(parts.hostname) and parts.port != 0
        usable = named and parts.path in {"", "/"} and not parts.query and not parts.fragment
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"it must look like smtp://user:password@mail.example.com:587 or smtps://...; {_ESCAPED}")
    if bool(user) != bool(password) or not (user + password).isprintable():
        raise ValueError("it must have a user and a password, or neither, on one line")
    return url


def _sender(text: str) -> str:
    try:
        if text:
            parse_sender(text)
    except InvalidInput as error:
        raise ValueError(str(error).removesuffix(".")) from None
    return text


Absolute = Annotated[Path, AfterValidator(_absolute)]
DatabaseUrl = Annotated[str, AfterValidator(_psycopg2)]
BrokerUrl = Annotated[str, AfterValidator(_redis)]
PublicUrl = Annotated[str, AfterValidator(_http)]
Networks = Annotated[str, AfterValidator(_networks)]
Rate = Annotated[str, AfterValidator(_rate)]
Color = Annotated[str, AfterValidator(_color)]
Address = Annotated[str, AfterValidator(_address)]
SmtpUrl = Annotated[str, AfterValidator(_smtp)]
Sender = Annotated[str, AfterValidator(_sender)]
