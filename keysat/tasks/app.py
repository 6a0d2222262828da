"""The Celery app: `celery -A keysat.worker worker`, `beat`, `flower`, `call` ...

Its settings are in `celeryconfig.py`, which `keysat.tasks.config` finds. A worker or beat that can't run safely
doesn't start. It prints the reason in one sentence and exits with 1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn

from celery import Celery, Task
from celery.signals import (
    before_task_publish,
    setup_logging,
    task_failure,
    task_postrun,
    task_prerun,
    worker_init,
    worker_process_init,
)
from celery.worker.request import Request as CeleryRequest
from celery.worker.state import revoked as revoked_tasks

from keysat.core.errors import KeysatError
from keysat.core.hints import hint_fields
from keysat.core.logs import bind_to_logs, configure_logs, get_logger
from keysat.core.settings import load_settings
from keysat.tasks.config import config_file, read_config

log = get_logger(__name__)

try:
    _celery_config = read_config(config_file(load_settings()))
except KeysatError as error:
    sys.exit(f"keysat: {error}")


# The sentence of a refusal to start. `keysat.worker` has the command line add what to type.
explain: Callable[[KeysatError], str] = str


class Request(CeleryRequest):
    """A message received by a worker. It expires by the database's clock."""

    def maybe_expire(self) -> Literal[True] | None:
        """Return True and mark the message as revoked if it has expired."""
        from keysat.core import clock  # noqa: PLC0415 - it imports SQLAlchemy, which Flower doesn't need

        expires: datetime | None = self.expires
        if expires is None or clock.now() <= expires:
            return None
        revoked_tasks.add(self.id)
        return True


class _Task(Task[Any, Any]):
    Request = f"{__name__}:Request"


app = Celery("keysat", include=["keysat.tasks.tasks", "keysat.tasks.sending"], task_cls=_Task)
app.config_from_object(_celery_config)


@before_task_publish.connect
def _expire_by_the_databases_clock(headers: dict[str, Any], **_: object) -> None:
    if headers.get("expires") and not headers.get("retries"):  # a retry keeps its expiry
        from keysat.core import clock  # noqa: PLC0415 - as above

        ahead = clock.now() - datetime.now(UTC)
        headers["expires"] = (datetime.fromisoformat(headers["expires"]) + ahead).isoformat()


@setup_logging.connect
def _configure_logs(**_: object) -> None:
    configure_logs(load_settings())


@worker_init.connect
def _refuse_to_start_unsafely(sender: Any, **_: object) -> None:
    from keysat.tasks.start import check_start  # noqa: PLC0415 - see there

    try:
        check_start(str(sender.hostname))
    except KeysatError as error:
        # SystemExit passes Celery's signal dispatch, which logs any other exception and goes on.
        sys.exit(f"keysat: {explain(error)}")


@worker_process_init.connect
def _begin_afresh(**_: object) -> None:
    from keysat.tasks.start import begin_afresh  # noqa: PLC0415 - see there

    begin_afresh()


def without_tasks() -> None:
    """Know the tasks only by name, as beat and Flower do. They import nothing that the tasks need."""
    app.conf.include = ()
    for name in app.conf.task_routes:
        app.task(name=name, shared=False)(_runs_in_a_worker)


def _runs_in_a_worker(*_: object, **__: object) -> NoReturn:
    raise NotImplementedError


_SUBJECTS = {
    "keysat.handle_provider_event": "event_id",
    "keysat.recheck_account": "account_id",
    "keysat.sweep_account": "account_id",
    "keysat.deliver_webhook": "delivery_id",
    "keysat.deliver_mail": "mail_id",
    "keysat.pay_tip": "tip_id",
}


@task_prerun.connect
def _bind_task(task_id: str, task: Task[Any, Any], args: list[object], **_: object) -> None:
    subject = {_SUBJECTS.get(task.name, "invoice_id"): str(args[0])} if args else {}
    bind_to_logs(task=task.name, task_id=task_id, **subject)


@task_failure.connect
def _say_refusal(exception: BaseException, **_: object) -> None:
    """Log expected errors, which Celery logs only at INFO. It logs others with their traceback."""
    if isinstance(exception, KeysatError):
        log.warning("task refused", reason=str(exception), **hint_fields(exception))


@task_postrun.connect
def _unbind_task(**_: object) -> None:
    bind_to_logs()
