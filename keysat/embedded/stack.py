"""Starts, supervises and stops all of Keysat's processes on one machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from keysat.core.errors import KeysatError
from keysat.core.settings import Settings
from keysat.embedded.backoff import Backoff, Watch
from keysat.embedded.commands import child_commands, child_environment, flower_wanted, require_ports
from keysat.embedded.errors import NotYours, StillStopping
from keysat.embedded.orphans import end_orphans, stop_rank
from keysat.embedded.process import POLL_SECONDS, Process, Say
from keysat.embedded.ready import Announcement
from keysat.embedded.servers import Postgres, Server, Valkey
from keysat.embedded.signals import stop_signals
from keysat.embedded.state import DataDirLock, StateFile

_WATCH_SECONDS = 0.1
_DOWN_SECONDS = 60.0
_POSTGRES_OPTIONS = {"shared_buffers": "16MB"}  # of the usual 128 MB, its tables alone touch 16 MB at the first start


@dataclass(eq=False)
class Stack:
    """The embedded servers that the settings require, and Keysat's own processes, by name in `processes`.

    `prepare` runs once the servers respond (migrations, keys). `on_event` gets one sentence for each event.
    `flower`: None or True runs it where it is installed. `web`: whether the web server runs. `commands` replaces
    Keysat's own processes by others, as {name: argument vector}.
    `postgres_options` are settings of the embedded PostgreSQL.
    """

    settings: Settings
    prepare: Callable[[], None]
    on_event: Say
    worker_args: Sequence[str] = ()
    flower: bool | None = None
    web: bool = False
    commands: Mapping[str, Sequence[str]] | None = None
    postgres_options: Mapping[str, str] = field(default_factory=dict)
    backoff: Backoff = field(default_factory=Backoff)
    processes: dict[str, Process] = field(default_factory=dict, init=False)
    _watches: dict[str, Watch] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._lock = DataDirLock(self.settings.data_dir)
        self._state = StateFile(self.settings.data_dir)

    def start(self, stop: threading.Event | None = None) -> None:
        """Take the lock, end orphans of a killed supervisor, start the servers, prepare, start the children.

        Once `stop` is set, nothing more is started. After an error, all that was started is stopped again.

        Raises:
            AlreadyRunning: another supervisor has this data directory.
            PortTaken: another program has the port of the web server or of Flower.
            KeysatError: a folder, a server, or `prepare` failed.
        """
        self._lock.acquire()
        try:
            end_orphans(self._state, self.say)
            for _ in self._starting():
                if stop is not None and stop.is_set():
                    return
        except BaseException:
            self.stop()
            raise

    def supervise(self, stop: threading.Event, each_time: Callable[[], None] = lambda: None) -> None:
        """Restart each child that ends, after its backoff, until `stop` is set. Call `each_time` in every round."""
        while not stop.wait(_WATCH_SECONDS):
            each_time()
            for name in self.processes:
                self._supervise(name)

    def stop(self, hurry: threading.Event | None = None) -> None:
        """Stop everything in order and release the lock. Once `hurry` is set, each wait is at most a second."""
        for name in sorted(self.processes, key=stop_rank):
            process = self.processes.pop(name)
            process.stop(hurry, self.say)
            self._state.forget(name)
            self.say(f"{name} stopped.")
        self._watches.clear()
        with suppress(OSError):
            self.settings.run_dir.rmdir()
        self._lock.release()

    def say(self, sentence: str) -> None:
        """Report an event. A closed terminal must not interrupt the supervision of the children."""
        with suppress(OSError):
            self.on_event(sentence)

    def _starting(self) -> Iterator[None]:
        """Start one process after the other. The caller may stop the iteration after each."""
        yield
        children = self._children()
        for server in self._servers():
            self._launch(server)
            yield
        self.prepare()
        yield
        for name, command in children.items():
            log = self.settings.data_dir / "log" / f"{name}.log"
            self._launch(Process(name, command, log, child_environment(self.settings)))
            yield

    def _servers(self) -> Iterator[Server]:
        data_dir, run_dir = self.settings.data_dir, self.settings.run_dir
        if self.settings.embedded_database:
            yield Postgres(data_dir, run_dir, self.postgres_options)
        if self.settings.embedded_broker:
            yield Valkey(data_dir, run_dir)

    def _children(self) -> Mapping[str, Sequence[str]]:
        if self.commands is not None:
            return self.commands
        flower = flower_wanted(self.flower, self.say)
        require_ports(self.settings, flower=flower, web=self.web)
        return child_commands(self.settings, self.worker_args, flower=flower, web=self.web)

    def _launch(self, process: Process) -> None:
        process.spawned = self._record
        self.processes[process.name] = process
        began = time.monotonic()
        process.start()
        self._watches[process.name] = Watch(time.monotonic())
        took = f" in {time.monotonic() - began:.1f} s" if isinstance(process, Server) else ""
        self.say(f"{process.name} started{took} (pid {process.pid}).")

    def _record(self, process: Process) -> None:
        if process.pid is not None:
            self._state.record(process.name, process.pid)

    def _supervise(self, name: str) -> None:
        process, watch = self.processes[name], self._watches[name]
        if process.alive:
            return
        if watch.due is None:
            process.sweep()
            watch.put_off(self.backoff)
            self.say(f"{process.obituary()}; it starts again in {watch.delay:g} s (log: {process.log}).")
        elif time.monotonic() >= watch.due:
            self._start_again(process, watch)

    def _start_again(self, process: Process, watch: Watch) -> None:
        try:
            process.start()
        except KeysatError as error:
            watch.put_off(self.backoff)
            self.say(f"{error} The next try is in {watch.delay:g} s.")
            return
        watch.started, watch.due = time.monotonic(), None
        self.say(f"{process.name} started again (pid {process.pid}).")


def up(
    settings: Settings,
    *,
    prepare: Callable[[], None],
    on_event: Say,
    worker_args: Sequence[str] = (),
    flower: bool | None = None,
    web: bool = True,
) -> None:
    """Run all of Keysat until SIGINT, SIGTERM or SIGHUP, then stop it in order. A second signal speeds that up.

    Raises:
        AlreadyRunning: another supervisor has this data directory.
        KeysatError: a folder, a server, or `prepare` failed. What was started is stopped again.
    """
    stack = Stack(settings, prepare, on_event, worker_args, flower, web, postgres_options=_POSTGRES_OPTIONS)
    with stop_signals() as (stop, hurry):
        stack.start(stop)
        try:
            if not stop.is_set():
                if "flower" in stack.processes:
                    stack.say(f"Flower shows the workers at http://127.0.0.1:{settings.flower_port}.")
                stack.say(f"Keysat runs in {settings.data_dir}; Ctrl-C stops it.")
            if "web" in stack.processes:
                stack.supervise(stop, Announcement(settings, stack.say))
            else:
                stack.supervise(stop)
        finally:
            stack.stop(hurry)


def down(settings: Settings, on_event: Say) -> bool:
    """Stop the Keysat of the data directory, and orphans of one killed with -9. Return whether anything ran.

    Raises:
        StillStopping: the supervisor still runs 60 s after the stop signal.
        NotYours: the supervisor belongs to another user.
    """
    if not settings.data_dir.is_dir():
        return False
    lock = DataDirLock(settings.data_dir)
    found = not lock.try_acquire()
    if found:
        _end_supervisor(lock, on_event)
    try:
        return end_orphans(StateFile(settings.data_dir), on_event) or found
    finally:
        lock.release()


def _end_supervisor(lock: DataDirLock, say: Say) -> None:
    """Send the supervisor a stop signal, and return with its lock."""
    reported: int | None = None
    deadline = time.monotonic() + _DOWN_SECONDS
    while not lock.try_acquire():
        pid = lock.holder()
        if reported is None and pid is not None:
            try:
                os.kill(pid, signal.SIGTERM)
            except PermissionError as error:
                raise NotYours(pid) from error
            except ProcessLookupError:
                continue
            reported = pid
            say(f"Keysat (pid {pid}) received the stop signal.")
        if time.monotonic() > deadline:
            raise StillStopping(reported, _DOWN_SECONDS)
        time.sleep(POLL_SECONDS)


def running(settings: Settings) -> dict[str, int]:
    """Return names and process ids of what runs in the data directory. "supervisor" is `keysat up` itself."""
    supervisor = DataDirLock(settings.data_dir).holder()
    return {**({"supervisor": supervisor} if supervisor else {}), **StateFile(settings.data_dir).alive()}
