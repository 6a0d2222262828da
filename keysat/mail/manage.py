"""List and show mails for the operator, send one again, or drop it."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Select, case, func, or_, select, update
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from keysat.core.errors import Conflict, InvalidInput, require
from keysat.core.hints import Hint
from keysat.core.texts import check_note
from keysat.mail.mail_queue import ended
from keysat.mail.owe import MAILS
from keysat.models import Mail
from keysat.models.audit import audit
from keysat.models.columns import newest
from keysat.models.mail import MailKind, MailStatus

UNTAKEN = timedelta(minutes=5)
LONG = timedelta(hours=1)  # longer than any greylisting


def list_mails(
    session: Session,
    limit: int,
    status: MailStatus | None = None,
    kind: MailKind | None = None,
    email: str | None = None,
    invoice_id: UUID | None = None,
) -> list[Mail]:
    """Return the newest mails, at most `limit`."""
    wanted = (
        (status, Mail.status == status),
        (kind, Mail.kind == kind),
        (email, func.lower(Mail.recipient) == func.lower(email or "")),
        (invoice_id, Mail.invoice_id == invoice_id),
    )
    conditions = [condition for given, condition in wanted if given is not None]
    return list(session.scalars(newest(select(Mail).where(*conditions), Mail.id, limit)))


def overdue_mails() -> Select[UUID, datetime]:
    """Select id and time of the mails that no sender took for five minutes, or that wait for an hour."""
    untaken, long = Mail.next_attempt_at < func.now() - UNTAKEN, Mail.pending_since < func.now() - LONG
    pending = Mail.status == MailStatus.PENDING
    return select(Mail.id, Mail.pending_since).where(pending, or_(untaken, long))


def dead_mails() -> Select[UUID, datetime | None]:
    """Select id and time of the dead letters."""
    return select(Mail.id, Mail.ended_at).where(Mail.status == MailStatus.FAILED)


def require_mail(session: Session, mail_id: UUID) -> Mail:
    """Return the mail with this id.

    Raises:
        NotFound: no such mail.
    """
    return require(session.get(Mail, mail_id), "mail", mail_id, Hint.LIST_MAILS)


def retry_mail(session: Session, mail_id: UUID, actor: str) -> None:
    """Send a mail at once, with new attempts, to the present address of its recipient.

    One that was sent gets a new Message-ID, as it is a second copy.

    Raises:
        NotFound: no such mail.
        Conflict: another worker is sending it, or its link is gone.
    """
    mail = require_mail(session, mail_id)
    if _retry(session, Mail.id == mail_id) == 0:
        link_gone = mail.kind == MailKind.RECOVERY and mail.status in {MailStatus.SENT, MailStatus.DROPPED}
        why = "has a link that is no longer valid" if link_gone else "is being sent at this moment"
        raise Conflict(f"mail {mail_id} {why}.")
    audit(session, actor, "mail.retried", mail_id)


def retry_failed_mails(session: Session, actor: str) -> int:
    """Send all dead letters again, as after a server refused everything. Return how many."""
    count = _retry(session, Mail.status == MailStatus.FAILED)
    audit(session, actor, "mail.all_retried", uuid7(), count=count)
    return count


def drop_mail(session: Session, mail_id: UUID, note: str, actor: str) -> None:
    """Let a pending mail or a dead letter be, for example because the buyer got the key another way.

    Raises:
        NotFound: no such mail.
        InvalidInput: the note is empty.
        Conflict: it was sent or dropped, or another worker is sending it.
    """
    if not check_note(note).strip():
        raise InvalidInput("say why, for the audit log.", Hint.GIVE_NOTE)
    mail = require_mail(session, mail_id)
    changed = session.scalar(
        update(Mail)
        .where(Mail.id == mail_id, Mail.status.in_([MailStatus.PENDING, MailStatus.FAILED]), _free())
        .values(status=MailStatus.DROPPED, **ended())
        .returning(Mail.id)
    )
    if changed is None:
        raise Conflict(
            f"mail {mail_id} {'is being sent at this moment' if not mail.finished else f'was {mail.status}'}."
        )
    audit(session, actor, "mail.dropped", mail_id, note=note)


def _free() -> ColumnElement[bool]:
    return or_(Mail.leased_until.is_(None), Mail.leased_until < func.now())


def _retry(session: Session, which: ColumnElement[bool]) -> int:
    """Make mails pending, each with the bytes that were made for it if it wasn't sent or dropped."""
    retried = session.scalars(
        update(Mail)
        .where(which, _free(), or_(Mail.kind != MailKind.RECOVERY, ~Mail.finished))
        .values(
            status=MailStatus.PENDING,
            attempts=0,
            pending_since=func.now(),
            next_attempt_at=func.now(),
            leased_until=None,
            ended_at=None,
            answer=None,
            last_error=case((Mail.status == MailStatus.PENDING, Mail.last_error), else_=None),
        )
        .returning(Mail.id)
    ).all()
    session.info.setdefault(MAILS, []).extend(retried)
    return len(retried)
