"""What `keysat up` keeps in memory: the proportional set size (PSS) of all its processes, in MB of 10^6 bytes.

`python -m tests.bench.memory` shows each process, with and without Flower, before and after a sale.
"""

import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from keysat.embedded.process import Process
from keysat.sandbox.client import SandboxClient
from keysat.sandbox.server import Sandbox
from tests.bench.bar import Bar

MAX_MB = 550.0
_SETTLE_SECONDS = 20.0
_START_SECONDS = 600.0  # for the start and for the sale, on a machine that is busy
_POLL_SECONDS = 0.5  # each question costs the web server something, too
_API_KEY = "made-up-api-key"
_NAMES = {"supervisor", "postgres", "valkey", "worker", "sender", "beat", "web"}


@dataclass(frozen=True)
class Memory:
    """MB by process, as {name: MB}, where the pool's children have their worker's name."""

    processes: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.processes.values())

    def __str__(self) -> str:
        parts = sorted(self.processes.items(), key=lambda part: -part[1])
        return f"{self.total:.0f} MB: " + ", ".join(f"{name} {size:.0f}" for name, size in parts)


def memory_of_up() -> Bar:
    """The MB of `keysat up` with Flower, after a sale."""
    at_start, after_sale = measure(flower=True)
    figures = f"{at_start.total:.0f} MB at its start; {after_sale}"
    return Bar("MB of keysat up with Flower, after a sale", after_sale.total, figures, at_most=MAX_MB)


def measure(*, flower: bool) -> tuple[Memory, Memory]:
    """Start `keysat up`, let it settle, sell a license. Returns its memory before and after the sale."""
    with _up(flower=flower) as (supervisor, environment):
        time.sleep(_SETTLE_SECONDS)  # what a process does after its start is what counts, and announces no end
        at_start = _memory(supervisor, flower=flower)
        with Sandbox() as sandbox, SandboxClient(sandbox.url) as buyer:
            _sell(buyer, sandbox.url, environment, supervisor)
        time.sleep(_SETTLE_SECONDS)
        return at_start, _memory(supervisor, flower=flower)


@contextmanager
def _up(*, flower: bool) -> Iterator[tuple[Process, dict[str, str]]]:
    scratch = Path(tempfile.mkdtemp(prefix="keysat-memory-"))
    own = ("KEYSAT_", "DATABASE_URL", "BROKER_URL")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    environment |= {
        "KEYSAT_DATA_DIR": str(scratch / "data"),
        "KEYSAT_WEB_PORT": str(_free_port()),
        "KEYSAT_FLOWER_PORT": str(_free_port()),
        "KEYSAT_PROVIDER_API_KEY": _API_KEY,
    }
    command = [sys.executable, "-m", "keysat", "up", "--flower" if flower else "--no-flower"]
    supervisor = Process("up", command, scratch / "up.log", environment)
    supervisor.start()
    try:
        _await(lambda: "Keysat is ready" in supervisor.log.read_text(), supervisor)
        yield supervisor, environment
    finally:
        if supervisor.alive and supervisor.pid is not None:
            os.kill(supervisor.pid, signal.SIGTERM)
        supervisor.wait()
        shutil.rmtree(scratch)


def _await(condition: Callable[[], object], supervisor: Process) -> None:
    """Poll until a condition is true. Fails as soon as `keysat up` ended."""
    deadline = time.monotonic() + _START_SECONDS
    while not condition():
        assert supervisor.alive, supervisor.obituary()
        assert time.monotonic() < deadline, f"nothing happened within {_START_SECONDS:g} s"
        time.sleep(_POLL_SECONDS)


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


def _sell(buyer: SandboxClient, url: str, environment: dict[str, str], supervisor: Process) -> None:
    """Open an invoice as a program would, pay it, and wait for its license."""
    shop = f"http://127.0.0.1:{environment['KEYSAT_WEB_PORT']}"
    buyer.register_store("store", _API_KEY, f"{shop}/v1/btcpay/webhook/main")
    for words in (
        ["provider", "add", "main", "--url", url, "--store", "store", "--sandbox"],
        ["product", "add", "editor", "--price", "21000"],
        ["policy", "add", "editor", "standard"],
    ):
        _run(words, environment)
    sold = requests.post(f"{shop}/v1/purchase", json={"product": "editor", "buyer_email": "a@example.com"}, timeout=60)
    sold.raise_for_status()
    (invoice,) = buyer.ledger()["invoices"]
    buyer.pay(invoice["id"] if isinstance(invoice, dict) else invoice)
    purchase = f"{shop}/v1/purchase/{sold.json()['invoice_id']}"
    _await(lambda: requests.get(purchase, timeout=60).json().get("license_key"), supervisor)


def _run(words: list[str], environment: dict[str, str]) -> None:
    log = Path(environment["KEYSAT_DATA_DIR"]) / "commands.log"
    command = Process(words[0], [sys.executable, "-m", "keysat", *words], log, environment)
    command.start()
    assert command.wait() == 0, log.read_text()


def _memory(supervisor: Process, *, flower: bool) -> Memory:
    assert supervisor.pid is not None
    sizes: dict[str, float] = {"supervisor": _pss(supervisor.pid)}
    for child in psutil.Process(supervisor.pid).children():
        name = _name(child)
        size = _pss(child.pid) + sum(_pss(process.pid) for process in child.children(recursive=True))
        sizes[name] = sizes.get(name, 0.0) + size
    assert set(sizes) == _NAMES | ({"Flower"} if flower else set()), sorted(sizes)
    return Memory(sizes)


def _name(process: psutil.Process) -> str:
    words = process.cmdline()
    names = {"sender@%h": "sender", "beat": "beat", "flower": "Flower", "web": "web", "worker": "worker"}
    found = next((name for word, name in names.items() if word in words), process.name())
    return found.removesuffix("-server")


def _pss(pid: int) -> float:
    """The MB of a process, or 0 if it ended meanwhile."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    (line,) = (line for line in rollup.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024 / 1e6


def main() -> int:
    """Show the memory with and without Flower. Returns 1 if it is over the bar."""
    most = 0.0
    for flower in (True, False):
        for moment, memory in zip(("at its start", "after a sale"), measure(flower=flower), strict=True):
            print(f"{'with' if flower else 'without'} Flower, {moment}: {memory}", flush=True)
            most = max(most, memory.total)
    return 0 if most < MAX_MB else 1


if __name__ == "__main__":
    sys.exit(main())
