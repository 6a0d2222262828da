"""Last runs of the tasks that beat sends, so that missing runs are detected."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from keysat.core.db import Base
from keysat.models.columns import Time


class TaskRun(Base):
    """The name of a task and when it last started."""

    __tablename__ = "task_runs"

    name: Mapped[str] = mapped_column(primary_key=True)
    last_run_at: Mapped[Time]


def ran_within(session: Session, name: str, span: timedelta) -> bool:
    """Return whether a task recorded a run within this span before now.

    Also False if the run is in the future or long ago, for example after the database's clock jumped.
    """
    lately = TaskRun.last_run_at.between(func.now() - span, func.now())
    return session.scalar(select(TaskRun.name).where(TaskRun.name == name, lately)) is not None


def note_run(session: Session, name: str) -> None:
    """Record that a task runs now."""
    ran = insert(TaskRun).values(name=name, last_run_at=func.now())
    session.execute(ran.on_conflict_do_update(index_elements=[TaskRun.name], set_={"last_run_at": func.now()}))
