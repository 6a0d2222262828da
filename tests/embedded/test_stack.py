import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import psutil
import pytest

from keysat.core.settings import Settings
from keysat.embedded.backoff import Backoff, Watch
from keysat.embedded.commands import child_commands, child_environment, flower_wanted
from keysat.embedded.errors import AlreadyRunning, ProgramFailed
from keysat.embedded.identity import is_another_program, start_time
from keysat.embedded.ready import Announcement, PortTaken
from keysat.embedded.signals import stop_signals
from keysat.embedded.stack import Stack, down, running
from keysat.embedded.state import DataDirLock, StateFile
from keysat.tasks.app import app

pytestmark = pytest.mark.servers

PATIENCE = 120.0
SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
# A worker with a pool child that a dead parent doesn't take along, and whose pid is in the log.
FORKING = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
time.sleep(600)
"""
FORKER = (sys.executable, "-c", FORKING)
ALL = {"worker": SLEEPER, "beat": SLEEPER, "flower": SLEEPER}


def until(condition):
    """Await a state of another process, which can't wake us."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)
    return value


@pytest.fixture
def stack_settings(tmp_path):
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def remote(tmp_path):
    """Settings with servers elsewhere, so that only the children are started."""
    return Settings(
        data_dir=tmp_path / "data", DATABASE_URL="postgresql://elsewhere/keysat", BROKER_URL="redis://elsewhere"
    )


def make(settings, said, commands=ALL, prepare=lambda: None, **more):
    return Stack(settings, prepare, said.append, commands=commands, postgres_options={"fsync": "off"}, **more)


@contextmanager
def supervised(stack):
    """Start the stack and supervise it in a thread, as the demo does."""
    stack.start()
    stop = threading.Event()
    thread = threading.Thread(target=stack.supervise, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        stack.stop()


def test_everything_starts_in_order_and_stops_in_order(stack_settings):
    said, prepared = [], []
    stack = make(stack_settings, said, prepare=lambda: prepared.append(list(stack.processes)))
    stack.start()
    pids = {name: process.pid for name, process in stack.processes.items()}
    assert prepared == [["postgres", "valkey"]]
    assert list(pids) == ["postgres", "valkey", "worker", "beat", "flower"]
    assert running(stack_settings) == {"supervisor": os.getpid(), **pids}
    assert all(os.getsid(pid) == pid for pid in pids.values())
    stack.stop()
    stopped = [line for line in said if line.endswith("stopped.")]
    assert stopped == [f"{name} stopped." for name in ("beat", "worker", "flower", "valkey", "postgres")]
    assert running(stack_settings) == {}
    assert not stack_settings.run_dir.exists()
    assert not (stack_settings.data_dir / "keysat.pids").exists()
    assert not any(start_time(pid) for pid in pids.values())


def test_servers_elsewhere_are_not_started(remote):
    stack = make(remote, [])
    stack.start()
    try:
        assert set(stack.processes) == set(ALL)
    finally:
        stack.stop()


def test_a_second_supervisor_is_refused_and_harms_nothing(remote):
    first = make(remote, [])
    first.start()
    try:
        with pytest.raises(AlreadyRunning) as refusal:
            make(remote, []).start()
        assert str(refusal.value) == (
            f"Keysat already runs in {remote.data_dir} (pid {os.getpid()}); stop it with `keysat down`."
        )
        assert all(process.alive for process in first.processes.values())
    finally:
        first.stop()
    with DataDirLock(remote.data_dir):
        assert DataDirLock(remote.data_dir).holder() == os.getpid()


def test_what_was_started_is_stopped_when_prepare_fails(stack_settings):
    def prepare():
        raise ProgramFailed("the migration", "no", stack_settings.data_dir)

    stack = make(stack_settings, [], prepare=prepare)
    with pytest.raises(ProgramFailed):
        stack.start()
    assert stack.processes == {}
    assert running(stack_settings) == {}
    with DataDirLock(stack_settings.data_dir):
        pass


def test_a_stop_that_comes_during_the_start_ends_it_there(remote):
    stop = threading.Event()
    stack = make(remote, [], prepare=stop.set)
    stack.start(stop)
    assert stack.processes == {}
    stack.stop()


def test_children_see_the_very_settings_of_their_supervisor(remote):
    code = "import os; print(*(os.environ[n] for n in ('DATABASE_URL', 'BROKER_URL', 'KEYSAT_DATA_DIR')))"
    stack = make(remote, [], {"worker": (sys.executable, "-c", code)})
    stack.start()
    stack.processes["worker"].wait()
    stack.stop()
    log = (remote.data_dir / "log" / "worker.log").read_text()
    assert log.split() == ["postgresql+psycopg2://elsewhere/keysat", "redis://elsewhere", str(remote.data_dir)]


def test_the_spelled_out_settings_read_back_as_they_were(remote, monkeypatch):
    for name, value in child_environment(remote).items():
        monkeypatch.setenv(name, value)
    assert Settings() == remote


def test_killed_children_and_servers_come_back(stack_settings):
    said = []
    stack = make(stack_settings, said, {"worker": FORKER}, backoff=Backoff(first=0.05))
    with supervised(stack):
        before = {name: process.pid for name, process in stack.processes.items()}
        log = stack_settings.data_dir / "log" / "worker.log"
        pool_child = int(until(log.read_text))
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        until(lambda: all(f"{name} started again" in " ".join(said) for name in before))
        after = {name: process.pid for name, process in stack.processes.items()}
        assert not set(before.values()) & set(after.values())
        assert running(stack_settings) == {"supervisor": os.getpid(), **after}
        assert start_time(pool_child) is None, "a dead worker's pool child stayed behind"
        until(lambda: len(log.read_text().split()) == 2)
    second_pool_child = int(log.read_text().split()[1])
    until(lambda: start_time(second_pool_child) is None)
    assert any(line.startswith("worker ended by SIGKILL") for line in said)


def test_a_child_that_keeps_ending_is_started_ever_more_rarely(remote):
    said = []
    broken = {"worker": (sys.executable, "-c", "raise SystemExit('ImportError: no keysat.tasks.app')")}
    with supervised(make(remote, said, broken, backoff=Backoff(first=0.05, most=0.1))):
        ended = until(lambda: [line for line in said if " ended " in line][2:3] and said)
    delays = [line.split("again in ")[1].split(" s")[0] for line in ended if " ended " in line]
    assert delays[:3] == ["0.05", "0.1", "0.1"]
    assert any("worker ended with status 1 (ImportError: no keysat.tasks.app); it starts" in line for line in said)


def test_backoff_doubles_and_resets():
    """The backoff doubles up to its maximum, and resets after a long run."""
    backoff, watch, delays = Backoff(), Watch(started=time.monotonic()), []
    for _ in range(7):
        watch.put_off(backoff)
        delays.append(watch.delay)
        watch.due = None
    assert delays == [1, 2, 4, 8, 16, 30, 30]
    watch.started -= 61
    watch.put_off(backoff)
    assert watch.delay == 1


def test_a_terminal_that_is_gone_does_not_stop_the_work(remote):
    def gone(_):
        raise BrokenPipeError

    stack = Stack(remote, lambda: None, gone, commands=ALL)
    stack.start()
    assert len(running(remote)) == 4
    stack.stop()


def test_two_signals_are_two_events_and_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with stop_signals() as (stop, hurry):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(PATIENCE)
        assert not hurry.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert hurry.wait(PATIENCE)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_hangup_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals() as (stop, _):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


SUPERVISOR = """
import signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores, and a shell's background SIGINT
signal.signal(signal.SIGINT, signal.default_int_handler)
from keysat.embedded import stack
from keysat.core.settings import load_settings
child = (sys.executable, "-c", "import time; time.sleep(600)")
settings = load_settings()
stack.child_commands = lambda *_, **__: {"worker": child, "beat": child}
stack.up(settings, prepare=lambda: None, on_event=lambda line: print(line, flush=True), flower=False, web=False)
"""


@contextmanager
def another_supervisor(settings):
    """`keysat up` in a process of its own, with sleepers for Celery's processes."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR],
        env=child_environment(settings),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    overdue = threading.Timer(3 * PATIENCE, process.kill)  # what doesn't stop must fail its test, not hang it
    overdue.start()
    with process:
        assert any("Ctrl-C stops it" in line for line in process.stdout)
        try:
            yield process
        finally:
            overdue.cancel()
            process.kill()


def test_down_stops_a_running_supervisor_in_order(stack_settings):
    said = []
    with another_supervisor(stack_settings) as process:
        pids = running(stack_settings)
        assert pids.pop("supervisor") == process.pid
        assert list(pids) == ["postgres", "valkey", "worker", "beat"]
        # The supervisor is our child, and only its parent can take note of its end.
        threading.Thread(target=process.wait).start()
        assert down(stack_settings, said.append)
        order = process.stdout.read().split()[::2]
    assert order == ["beat", "worker", "valkey", "postgres"]
    assert process.returncode == 0
    assert not any(start_time(pid) for pid in pids.values())
    assert said == [f"Keysat (pid {process.pid}) received the stop signal."]
    assert not down(stack_settings, said.append)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_stack_terminal_signals(stack_settings, number):
    """Only the supervisor gets the terminal's signals, and it stops its processes in order."""
    with another_supervisor(stack_settings) as process:
        pids = running(stack_settings)
        os.killpg(process.pid, number)  # as a terminal does to all in its foreground
        assert process.stdout.read().split()[::2] == ["beat", "worker", "valkey", "postgres"]
        assert process.wait() == 0
    assert not any(start_time(pid) for pid in pids.values())


@pytest.mark.parametrize("remedy", ["down", "up"])
def test_what_a_killed_supervisor_left_is_stopped(stack_settings, remedy):
    said = []
    with another_supervisor(stack_settings) as process:
        process.kill()
        process.wait()
    orphans = running(stack_settings)
    assert list(orphans) == ["postgres", "valkey", "worker", "beat"]
    if remedy == "down":
        assert down(stack_settings, said.append)
    else:
        stack = make(stack_settings, said)
        stack.start()
        stack.stop()
    assert [line.split()[0] for line in said][:4] == ["beat", "worker", "valkey", "postgres"]
    assert not any(start_time(pid) for pid in orphans.values())


def test_a_recycled_process_id_is_not_taken_for_a_child(remote):
    stranger = subprocess.Popen(SLEEPER)
    try:
        remote.data_dir.mkdir()
        state = {"worker": [stranger.pid, start_time(stranger.pid) - 1]}
        (remote.data_dir / "keysat.pids").write_text(json.dumps(state))
        assert running(remote) == {}
        assert not down(remote, lambda _: None)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_start_time_survives_a_clock_change(monkeypatch):
    before, boot_time = start_time(os.getpid()), psutil.boot_time()
    monkeypatch.setattr("psutil._psplatform.boot_time", lambda: boot_time + 3_600)
    assert psutil.Process().create_time() > time.time(), "the clock change had no effect"
    assert start_time(os.getpid()) == before


def test_start_time_of_a_zombie_is_none():
    child = subprocess.Popen(["true"])
    until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    assert start_time(child.pid) is None
    assert is_another_program(child.pid, "true")
    child.wait()
    assert start_time(child.pid) is None
    assert not is_another_program(child.pid, "true")


def test_stack_without_data_directory(remote):
    """Nothing runs, and nothing is created."""
    assert running(remote) == {}
    assert not down(remote, lambda _: None)
    assert not remote.data_dir.exists()


@pytest.mark.parametrize("text", ["", "[]", '{"worker": 3}', '{"worker": ["a", "b"]}', "\x00"])
def test_a_damaged_state_file_counts_as_empty(tmp_path, text):
    (tmp_path / "keysat.pids").write_text(text)
    assert StateFile(tmp_path).alive() == {}
    StateFile(tmp_path).record("worker", os.getpid())
    assert StateFile(tmp_path).alive() == {"worker": os.getpid()}


def test_the_worker_sends_events_for_flower_only(remote):
    plain = child_commands(remote, ["-c", "2"])
    assert [words[1:4] for words in plain.values()] == [("-P", "-m", "keysat.worker")] * 3
    assert plain["worker"][4:] == ("worker", "-Q", "scan,issue,reconcile", "-c", "2")
    watched = child_commands(remote, flower=True)
    assert watched["worker"][4:6] == watched["sender"][4:6] == ("worker", "-E")
    assert watched["flower"][4:] == ("flower", "--address=127.0.0.1", "--port=5555")


def test_the_workers_share_all_queues_and_each_is_served_once(remote):
    served = [
        queue
        for name in ("worker", "sender")
        for queue in child_commands(remote)[name][child_commands(remote)[name].index("-Q") + 1].split(",")
    ]
    assert sorted(served) == sorted(queue.name for queue in app.conf.task_queues)


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("web_port", "for the web server, is taken; set KEYSAT_WEB_PORT to a free one, or start with --no-web."),
        ("flower_port", "for Flower, is taken; set KEYSAT_FLOWER_PORT to a free one, or start with --no-flower."),
    ],
)
def test_taken_port_stops_the_start_before_anything_runs(tmp_path, field, sentence):
    said, prepared = [], []
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as second_server:
        port, free = server.getsockname()[1], second_server.getsockname()[1]
        second_server.close()
        ports = {"web_port": free, "flower_port": free, field: port}
        stack = Stack(Settings(data_dir=tmp_path, **ports), lambda: prepared.append(1), said.append, web=True)
        with pytest.raises(PortTaken) as refusal:
            stack.start()
    assert str(refusal.value) == f"port {port}, {sentence}"
    assert (said, prepared, stack.processes) == ([], [], {})


def test_flower_can_be_left_out():
    assert not flower_wanted(False, [].append)
    assert flower_wanted(None, [].append)


@pytest.mark.parametrize(
    ("response", "ready"), [(b"HTTP/1.1 200 OK\r\n\r\n{}", True), (b"HTTP/1.1 503 No\r\n\r\n", False), (b"", False)]
)
def test_ready_is_said_once_the_web_server_responds(tmp_path, response, ready):
    """A server that accepts a connection isn't ready yet."""
    said = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = Settings(data_dir=tmp_path, web_port=server.getsockname()[1])
        announce = Announcement(settings, said.append)
        for _ in range(2):
            thread = threading.Thread(target=respond, args=(server, response), daemon=True)
            thread.start()
            announce()
    assert said[:1] == ([f"Keysat is ready at {settings.url}; Ctrl-C stops it."] if ready else [])
    assert len(said) == (2 if ready else 0)


def respond(server, response):
    with suppress(OSError), server.accept()[0] as connection:
        connection.recv(1_000)
        connection.sendall(response)


HOLDER = """
import sys
from pathlib import Path
from keysat.embedded.state import DataDirLock
lock = DataDirLock(Path(sys.argv[1]))
lock.acquire()
print(flush=True)
input()
"""


def test_a_lock_held_by_a_process_that_dies_is_free(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        lock = DataDirLock(tmp_path)
        assert not lock.try_acquire()
        assert lock.holder() == process.pid
        process.kill()
        process.wait()
    assert lock.holder() is None
    lock.acquire()
    lock.release()
    assert (tmp_path / "keysat.lock").read_text() == ""
