"""Issue the status list, and keep the newest one for all web processes.

A list is compared with the licenses at most once in `CHECK_SECONDS`, whoever asks for it how often. Another one is
issued once something changed, or a day has passed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    LargeBinary,
    Select,
    case,
    cast,
    delete,
    extract,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session

from keysat.core.logs import get_logger
from keysat.licenses.signed import Prefix
from keysat.licenses.signer import Signer
from keysat.licenses.status_list import ENTRY_BYTES, Flag, content
from keysat.models import License, StatusList
from keysat.models.columns import seconds
from keysat.models.epoch import current_epoch, notice_restore
from keysat.models.license import LISTED, LicenseStatus

log = get_logger(__name__)

LIFETIME = timedelta(days=7)
RENEW_AFTER = timedelta(days=1)
CHECK_SECONDS = 60
_LOCK = 7_418_065
# Within the transaction, and after the wait for the lock.
_CLOCK = func.clock_timestamp()


@dataclass(frozen=True)
class LastList:
    """The list that was issued last. `fresh` means that it was compared with the licenses a moment ago."""

    sequence: int
    fresh: bool


def last_list(session: Session) -> LastList | None:
    """Return which list was issued last, without its text. None if none ever was."""
    recent = StatusList.checked_at.between(_CLOCK - seconds(CHECK_SECONDS), _CLOCK)
    fresh = func.coalesce(recent, False) & (StatusList.epoch == current_epoch().scalar_subquery())
    found = session.execute(_last(StatusList.sequence, fresh)).one_or_none()
    return None if found is None else LastList(*found)


def last_body(session: Session) -> tuple[int, str]:
    """Return the sequence number and the text of the list that was issued last. There must be one."""
    sequence, body = session.execute(_last(StatusList.sequence, StatusList.body)).one()
    return sequence, body


def _last(*columns: Any) -> Select[Any]:
    return select(*columns).order_by(StatusList.sequence.desc()).limit(1)


def refresh_list(session: Session, signer: Signer) -> int:
    """Issue another list if the last one is out of date. Return the sequence number of the one that counts.

    Of concurrent calls one does the work, and the others wait for it.
    """
    _lock(session)
    found = last_list(session)
    if found is not None and found.fresh:
        return found.sequence
    entries = _read(session)
    row = session.scalars(_last(StatusList)).one_or_none()
    if row is None or not _still_right(session, row, entries):
        row = _issue(session, signer, entries, LIFETIME)
    row.checked_at = session.scalars(select(_CLOCK)).one()
    return row.sequence


def issue_list(session: Session, signer: Signer, lifetime: timedelta = LIFETIME) -> StatusList:
    """Issue a list now, whatever the last one is. It is valid for `lifetime`."""
    _lock(session)
    return _issue(session, signer, _read(session), lifetime)


def _still_right(session: Session, row: StatusList, entries: bytes) -> bool:
    """Whether a list has the entries of today, is of this epoch, is young, and lasts as long as others.

    One that seems to be issued later than now is of a clock that was wrong.
    """
    now, epoch = _now(session), _epoch(session)
    return (
        row.digest == _digest(entries)
        and row.epoch == epoch
        and timedelta(0) <= now - row.issued_at < RENEW_AFTER
        and row.expires_at - row.issued_at == LIFETIME
    )


def _issue(session: Session, signer: Signer, entries: bytes, lifetime: timedelta) -> StatusList:
    now, epoch = _now(session), _epoch(session)
    sequence = (session.scalar(select(func.max(StatusList.sequence))) or 0) + 1
    issued_at, expires_at = int(now.timestamp()), int((now + lifetime).timestamp())
    signed = content(entries, epoch=epoch, sequence=sequence, issued_at=issued_at, expires_at=expires_at)
    row = StatusList(
        sequence=sequence,
        epoch=epoch,
        entries=len(entries) // ENTRY_BYTES,
        issued_at=now,
        expires_at=now + lifetime,
        digest=_digest(entries),
        body=signer.sign_text(Prefix.STATUS_LIST, signed),
    )
    session.add(row)
    session.flush()
    session.execute(delete(StatusList).where(StatusList.sequence < sequence))
    return row


def _read(session: Session) -> bytes:
    """Return an entry for each license of which some key says something else, by id.

    A license whose keys have all ended is left out, unless its end was ever moved to an earlier time. The database puts
    the entries together, in a tenth of the time that it takes to read them one by one.
    """
    end = License.key_ends_at
    listed = or_(License.end_shortened, end.is_(None), end >= func.now())
    joined = func.string_agg(_entry(), aggregate_order_by(literal(b"", LargeBinary), License.id))
    entries = session.scalar(select(joined).where(text(f"({LISTED})"), listed))
    return bytes(entries or b"")


def _entry() -> ColumnElement[Any]:
    """Return the entry of a license. A withdrawn one needs no times. A status of another version isn't valid here."""
    valid = License.status == LicenseStatus.ACTIVE
    rotated, moved = License.rotated_at.is_not(None), License.end_extended | License.end_shortened
    changed = case((rotated, Flag.ROTATED.value), else_=0) + case((moved, Flag.END.value), else_=0)
    withdrawn = case((License.status == LicenseStatus.REVOKED, Flag.REVOKED.value), else_=Flag.SUSPENDED.value)
    flags = func.int4send(cast(case((valid, changed), else_=withdrawn), Integer))
    entry: ColumnElement[Any] = func.uuid_send(License.id)
    for part in (
        func.substr(flags, 4),  # the last of four bytes
        func.int8send(_unix(License.rotated_at, valid & rotated)),
        func.int8send(_unix(License.key_ends_at, valid & moved)),
    ):
        entry = entry.op("||")(part)
    return entry


def _unix(moment: Any, counts: ColumnElement[bool]) -> ColumnElement[int]:
    """Return a time in whole Unix seconds where it counts, otherwise 0, as for none."""
    return case((counts, func.coalesce(cast(func.floor(extract("epoch", moment)), BigInteger), 0)), else_=0)


def _digest(entries: bytes) -> bytes:
    return hashlib.sha256(entries).digest()


def _lock(session: Session) -> None:
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def _now(session: Session) -> datetime:
    """Return the database's time in whole seconds, as lists carry it."""
    now: datetime = session.scalars(select(func.date_trunc("second", _CLOCK))).one()
    return now


def _epoch(session: Session) -> int:
    if notice_restore(session):
        log.warning("the database was restored from a backup: lists are of a new epoch, tips of earlier sales wait")
    epoch: int = session.execute(current_epoch()).scalar_one()
    return epoch
