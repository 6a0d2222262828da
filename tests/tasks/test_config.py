"""Celery's settings come from the operator's file, and nothing comes from the working directory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import keysat
from keysat.tasks import config
from keysat.tasks.app import app
from keysat.tasks.config import CeleryConfigUnusable, config_file, read_config

ROOT = Path(__file__).parents[2]
TRAP = "from pathlib import Path\nPath('executed').touch()\n"
CELERY = ("-m", "celery", "-A")


def run_in(folder, *command, **environment):
    """Run Python in a folder and return the finished process, which never shows a traceback."""
    finished = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Traceback" not in finished.stderr
    return finished


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "keysat", "doctor"),
        ("-m", "keysat", "celery", "report"),
        (*CELERY, "keysat.worker", "report"),
    ],
    ids=" ".join,
)
def test_config_in_working_directory_isnt_executed(empty_database, tmp_path, command):
    (tmp_path / "celeryconfig.py").write_text(TRAP)
    run_in(tmp_path, *command)
    assert [path.name for path in tmp_path.iterdir()] == ["celeryconfig.py"]


@pytest.mark.slow
def test_library_in_working_directory_isnt_imported(tmp_path):
    """`keysat celery` and the processes of `keysat up` keep the working directory off the path, as Celery doesn't."""
    for library in ("requests", "sqlalchemy", "structlog", "redis", "limits", "prometheus_client"):
        (tmp_path / f"{library}.py").write_text(TRAP)
    finished = run_in(tmp_path, "-P", "-m", "keysat", "celery", "report")
    assert finished.returncode == 0
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
def test_help_of_celery_names_our_command(tmp_path):
    finished = run_in(tmp_path, "-P", "-m", "keysat", "celery", "call", "--help")
    assert finished.stdout.startswith("Usage: keysat celery call ")


@pytest.mark.slow
def test_celery_finds_the_app_by_name(tmp_path):
    names = ["keysat", "keysat.worker", "keysat.worker:app", "keysat.tasks.app"]
    code = "import sys; from celery.app.utils import find_app as f; print({f(name).main for name in sys.argv[1:]})"
    assert run_in(tmp_path, "-c", code, *names).stdout.strip() == "{'keysat'}"
    assert "task_default_queue: 'scan'" in run_in(tmp_path, *CELERY, "keysat", "report").stdout


@pytest.mark.slow
def test_importing_keysat_stays_cheap():
    code = "import keysat, sys; print([name for name in ('celery', 'keysat.core') if name in sys.modules])"
    assert run_in(ROOT, "-c", code).stdout.strip() == "[]"
    assert keysat.app is app
    with pytest.raises(AttributeError, match="no attribute 'celery'"):
        _ = keysat.celery


def test_settings_file_is_the_one_beside_the_package(settings):
    assert config_file(settings) == ROOT / "celeryconfig.py"


@pytest.mark.slow
def test_variable_names_another_file(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text((ROOT / "celeryconfig.py").read_text() + "\ntask_soft_time_limit = 44\n")
    finished = run_in(tmp_path, *CELERY, "keysat.worker", "report", KEYSAT_CELERY_CONFIG=str(mine))
    assert "task_soft_time_limit: 44" in finished.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "cause"),
    [(None, "No such file"), ("broker_url = ", "SyntaxError"), ("a = b", "NameError: name 'b' is not defined")],
)
def test_unusable_file_is_one_sentence(tmp_path, text, cause):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CeleryConfigUnusable, match=cause):
        read_config(path)
    finished = run_in(tmp_path, "-m", "keysat", "doctor", KEYSAT_CELERY_CONFIG=str(path))
    assert finished.returncode == 1
    assert finished.stderr.startswith(f"keysat: Celery's settings in {path} can't be used (")
    assert finished.stderr.count("\n") == 1


def test_installed_package_uses_its_own_copy(settings, tmp_path, monkeypatch):
    """A celeryconfig.py beside an installed package belongs to another distribution."""
    monkeypatch.setattr(config, "_BUILT_IN", tmp_path / "keysat" / "celeryconfig.py")
    monkeypatch.setattr(config, "_OF_A_CHECKOUT", tmp_path / "celeryconfig.py")
    assert config_file(settings) == tmp_path / "celeryconfig.py"
    (tmp_path / "keysat").mkdir()
    shutil.copy(ROOT / "celeryconfig.py", tmp_path / "keysat")
    assert config_file(settings) == tmp_path / "keysat" / "celeryconfig.py"


def test_message_to_an_exchange_reaches_one_queue(empty_broker):
    with app.connection_for_write() as connection:
        for queue in app.amqp.queues.values():
            queue(connection.default_channel).declare()
        for queue in app.amqp.queues.values():
            producer = app.amqp.Producer(connection)
            producer.publish({}, exchange=queue.exchange, routing_key=queue.routing_key, serializer="json")
    assert {name: empty_broker.llen(name) for name in app.amqp.queues} == dict.fromkeys(app.amqp.queues, 1)


@pytest.mark.parametrize(("task", "route"), app.conf.task_routes.items(), ids=list(app.conf.task_routes))
def test_sent_task_reaches_its_queue_alone(empty_broker, task, route):
    app.send_task(task)
    assert {name: empty_broker.llen(name) for name in app.amqp.queues if empty_broker.llen(name)} == {route["queue"]: 1}
