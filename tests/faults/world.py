"""A whole Keysat in separate processes, and a supervisor that restarts each that dies."""

import os
import random
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import redis
from sqlalchemy import text

from keysat.core.db import Base, engine, transaction
from keysat.embedded.process import Process, kill_group
from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox
from tests.builders import SECRET, STORE, load_account, make_account, make_catalog
from tests.environment import SCRATCH, Servers
from tests.faults.buyers import Buyers
from tests.faults.hasty import SPEED
from tests.faults.oracle import Oracle
from tests.nodes import beat_command, wait_until, worker_command

APP = "tests.faults.hasty"


class Node(Process):
    """A process of Keysat's."""

    def words(self) -> str:
        """What it wrote since it was started last."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")


class World(Buyers):
    """The servers, the sandbox, and Keysat's processes by name in `nodes`. Each that dies is restarted at once."""

    def __init__(self, servers: Servers, sandbox: Sandbox, client: SandboxClient, seed: int) -> None:
        super().__init__(client, sandbox.ledger)
        self.settings, self.postgres, self.valkey = servers
        self.sandbox_url = sandbox.url
        self.random = random.Random(seed)
        self.oracle = Oracle(self.settings.database_url, sandbox.url)
        self.broker = redis.Redis(unix_socket_path=str(self.settings.run_dir / "valkey.sock"))
        self.nodes: dict[str, Node] = {}
        self.starts = 0
        self.web_port = _free_port()
        self._held, self._over = set(), threading.Event()
        self._lock = threading.RLock()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    def start(self, name: str, command: list[str], **environment: str) -> Node:
        """Start a process and keep it running."""
        settings = {"KEYSAT_LOG_LEVEL": "INFO", "KEYSAT_SCAN_QUEUE_LIMIT": str(1_000 // SPEED), **environment}
        process = Node(name, command, SCRATCH / f"faults-{name}.log", {**os.environ, **settings})
        process.start()
        with self._lock:
            self.nodes[name] = process
        if not self._supervisor.is_alive():
            self._supervisor.start()
        return process

    def worker(self, name="worker", concurrency=2, queues="scan,issue,reconcile,deliver,tips", **environment):
        """Start a worker. Returns once it serves."""
        command = worker_command(APP, concurrency, extra=("-Q", queues))
        command = [part.format(node=f"{name}@here") for part in command]
        process = self.start(name, command, **environment)
        self.await_worker(name)
        return process

    def await_worker(self, name="worker") -> None:
        """Return once a worker serves, be it a new one."""
        wait_until(lambda: self.nodes[name].alive and " ready." in self.nodes[name].words())

    def await_web(self) -> None:
        """Return once the web server listens, be it a new one."""
        wait_until(lambda: self.nodes["web"].alive and _listens(self.web_port))

    def beat(self, name="beat", **environment) -> Path:
        """Start a beat. Returns its schedule file."""
        command = beat_command(APP, name)
        self.start(name, command, **environment)
        return Path(command[-1])

    def web(self, **environment: str) -> str:
        """Start the web server, and let the sandbox send its webhooks there. Returns its URL."""
        own = {"KEYSAT_WEB_PORT": str(self.web_port), **environment}
        self.start("web", [sys.executable, "-m", "tests.faults.hasty_web"], **own)
        url = f"http://127.0.0.1:{self.web_port}"
        self.await_web()
        self.client.register_store(STORE, "key-of-test-store", f"{url}/v1/btcpay/webhook/{load_account().id}", SECRET)
        return url

    def kill(self, name: str) -> None:
        """Kill a process with all its children, as a power cut would."""
        with self._lock:
            kill_group(self.nodes[name].pid)
            self.nodes[name].wait()

    def kill_child(self, name: str) -> bool:
        """Kill one of a worker's pool processes. Returns whether there was one."""
        with self._lock:
            pid = self.nodes[name].pid
        children = children_of(pid)
        if not children:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.random.choice(children), signal.SIGKILL)
        return True

    @contextmanager
    def held(self, name: str):
        """Suspend the supervision of a process, so it isn't restarted."""
        with self._lock:
            self._held.add(name)
        try:
            yield self.nodes[name]
        finally:
            with self._lock:
                self._held.discard(name)

    def _supervise(self):
        while not self._over.wait(0.05):
            with self._lock:
                for name, process in self.nodes.items():
                    if name not in self._held and not process.alive:
                        process.sweep()
                        process.start()
                        self.starts += 1

    def close(self) -> None:
        """End all processes."""
        self._over.set()
        for process in self.nodes.values():
            if process.pid:
                kill_group(process.pid)
                process.kill()

    def recover(self, ended_at: float, patience: float = 120.0) -> float:
        """Wait until everything paid is licensed. Returns the seconds since `ended_at`, a monotonic time."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            with suppress(Exception):  # wait through every error
                if self.oracle.licenses() >= self.paid:
                    break
            time.sleep(0.05)
        return time.monotonic() - ended_at

    def resident_memory(self) -> dict[int, float]:
        """The memory of each of the processes' members in MB, by its pid."""
        pids = [pid for process in self.nodes.values() for pid in (process.pid, *children_of(process.pid))]
        return {pid: megabytes for pid in pids if (megabytes := _resident(pid))}


def children_of(pid: int) -> list[int]:
    """The direct children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _resident(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def world(servers: Servers, seed: int):
    """An empty world: no row, no message, one store and one product."""
    with transaction() as session:
        names = ", ".join(table.name for table in Base.metadata.sorted_tables)
        session.execute(text(f"TRUNCATE {names} CASCADE"))
    with Sandbox() as sandbox, SandboxClient(sandbox.url) as client:
        client.register_store(STORE, "key-of-test-store")
        make_account(kind="btcpay", base_url=sandbox.url)
        make_catalog()
        found = World(servers, sandbox, client, seed)
        found.broker.flushall()
        found.oracle.watch()
        try:
            yield found
        finally:
            found.close()
            engine().dispose()
