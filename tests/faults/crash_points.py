"""Named points at which a process can be made to die: before and after each commit, call and message.

A point is named by the function of Keysat's that commits or calls. The plan is a folder. `armed` names the point to die
at, and the first process to reach it removes the file and kills its whole group. `seen` lists the points passed.
"""

import os
import signal
import sys
from pathlib import Path

from celery.signals import after_task_publish, before_task_publish
from requests.adapters import HTTPAdapter
from sqlalchemy import event
from sqlalchemy.orm import Session

from keysat.net.smtp import SmtpServer

_BELOW = (
    "keysat.core.db",
    "keysat.net.client",
    "keysat.net.deadlines",
    "keysat.net.untrusted",
    "keysat.net.smtp",
    "keysat.core.metrics",
    "keysat.providers",
)


class Plan:
    """The folder through which the test and the processes speak."""

    def __init__(self, folder: str | Path) -> None:
        self._armed, self._seen = Path(folder) / "armed", Path(folder) / "seen"

    def arm(self, point: str) -> None:
        """Let the next process that gets to a point die there."""
        self._armed.write_text(point)

    def forget(self) -> None:
        """Begin a new list of points."""
        self._seen.unlink(missing_ok=True)

    @property
    def fired(self) -> bool:
        """Whether no process has to die any more."""
        return not self._armed.exists()

    def disarm(self) -> None:
        """Let everybody live."""
        self._armed.unlink(missing_ok=True)

    def seen(self) -> list[str]:
        """All points passed so far, each once, in the order in which they were passed first."""
        return list(dict.fromkeys(self._seen.read_text().split())) if self._seen.exists() else []

    def pass_by(self, point: str) -> None:
        """Pass a point, or die there."""
        with self._seen.open("a") as seen:
            seen.write(f"{point}\n")
        try:
            if self._armed.read_text() != point:
                return
            self._armed.rename(self._armed.with_name(f"fired-{os.getpid()}"))
        except OSError:
            return  # no process has to die, or another one was faster
        os.killpg(os.getpgid(0), signal.SIGKILL)


def install(folder: str) -> None:
    """Make this process and its children pass the plan's points."""
    plan = Plan(folder)
    event.listen(Session, "before_commit", lambda _: plan.pass_by(f"{_caller()}:before-commit"))
    event.listen(Session, "after_commit", lambda _: plan.pass_by(f"{_caller()}:after-commit"))
    before_task_publish.connect(lambda **_: plan.pass_by(f"{_caller()}:before-message"), weak=False)
    after_task_publish.connect(lambda **_: plan.pass_by(f"{_caller()}:after-message"), weak=False)
    send = HTTPAdapter.send

    def sending(self, *arguments, **named):
        point = _caller()
        plan.pass_by(f"{point}:before-call")
        answer = send(self, *arguments, **named)
        plan.pass_by(f"{point}:after-call")
        return answer

    HTTPAdapter.send = sending
    hand_over = SmtpServer.send

    def handing_over(self, *arguments):
        point = _caller()
        plan.pass_by(f"{point}:before-call")
        answer = hand_over(self, *arguments)
        plan.pass_by(f"{point}:after-call")
        return answer

    SmtpServer.send = handing_over


def _caller() -> str:
    """The innermost function of Keysat's that isn't only a way to the database or to the wire."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("keysat.") and not module.startswith(_BELOW):
            return f"{module.removeprefix('keysat.')}.{frame.f_code.co_name}.{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"
