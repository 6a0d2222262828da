"""Notices from processes to the operator, which `keysat status` and `doctor` show for a day.

They are stored beside the queues, not in PostgreSQL, with best effort. Facts that must not be lost don't belong here.
The client of Redis is imported on use, because most commands and requests have no notice to read or write.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from threading import Thread
from typing import Any

from keysat.core.logs import get_logger
from keysat.core.settings import Settings, load_settings

log = get_logger(__name__)

METRICS = "metrics"
PROXY = "trusted proxies"
_KEY = "keysat:notices"
_KEPT_SECONDS = 86_400
_SERVER_SECONDS = 1.0


@dataclass(frozen=True)
class Notice:
    """The last notice of one kind from one program."""

    kind: str
    who: str
    sentence: str


def notice(kind: str, program: str, sentence: str) -> None:
    """Record a notice without waiting for the server."""
    value = json.dumps([time.time(), sentence])
    _in_background(lambda client: [client.hset(_KEY, _field(kind, program), value), client.expire(_KEY, _KEPT_SECONDS)])


def withdraw(kind: str, program: str) -> None:
    """Delete this program's notice of a kind."""
    _in_background(lambda client: client.hdel(_KEY, _field(kind, program)))


def notices(settings: Settings) -> list[Notice]:
    """Return the last day's notices, or none if the server doesn't respond, which is reported elsewhere."""
    from redis import RedisError  # noqa: PLC0415 - see the top of the file

    try:
        with _client(settings) as client:
            noted = client.hgetall(_KEY)
    except RedisError:
        return []
    found = []
    for field, value in sorted(noted.items()):
        kind, _, who = field.decode(errors="replace").partition("|")
        try:
            at, sentence = json.loads(value)
            recent = time.time() - at < _KEPT_SECONDS
        except (ValueError, TypeError):
            continue
        if recent:
            found.append(Notice(kind, who, str(sentence)))
    return found


def _field(kind: str, program: str) -> str:
    return f"{kind}|{program}"


def _client(settings: Settings) -> Any:
    from redis import Redis  # noqa: PLC0415 - see the top of the file

    url = settings.broker_url.replace("redis+socket://", "unix://", 1)
    return Redis.from_url(url, socket_timeout=_SERVER_SECONDS, socket_connect_timeout=_SERVER_SECONDS)


def _in_background(act: object) -> None:
    assert callable(act)

    def run() -> None:
        from redis import RedisError  # noqa: PLC0415 - see the top of the file

        try:
            with _client(load_settings()) as client:
                act(client)
        except (RedisError, OSError) as error:
            log.info("a notice could not be stored", reason=str(error))

    try:
        Thread(target=run, name="notice", daemon=True).start()
    except RuntimeError as error:  # no thread can be started
        log.info("a notice could not be stored", reason=str(error))
