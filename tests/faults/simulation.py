"""Running the interleavings: one process for each core, each over a database of its own."""

import json
import os
import subprocess
import sys

from tests.faults.report import Report
from tests.faults.world import World

_NOTHING = '{"lived": 0, "deaths": 0, "paid": 0, "licensed": 0, "breaches": {"a process without an answer": 1}}'


def interleave(world: World, lives: int) -> Report:
    """Simulate the `lives` of invoices, each in another order. The first world with a breach names its seed."""
    processes = max(1, os.cpu_count() or 1)
    databases = [f"interleaved_{number}" for number in range(processes)]
    running = [_start(world, name, -(-lives // processes)) for name in databases]
    found = [json.loads(process.communicate()[0] or _NOTHING) for process in running]
    for name in databases:
        world.oracle.run(f"DROP DATABASE {name} WITH (FORCE)")
    total = {name: sum(run[name] for run in found) for name in ("lived", "deaths", "paid", "licensed")}
    breaches = [f"{times} times {what}" for run in found for what, times in run["breaches"].items()]
    report = Report("interleavings", total["lived"], total["paid"], total["licensed"], 0, 0, 0.0, breaches)
    report.at_least("lives", total["lived"], lives)
    report.at_least("deaths in them", total["deaths"], lives // 10)
    return report


def _start(world: World, database: str, lives: int) -> subprocess.Popen:
    world.oracle.run(f"CREATE DATABASE {database}")
    url = world.settings.database_url.replace("/keysat?", f"/{database}?")
    environment = {**os.environ, "DATABASE_URL": url, "KEYSAT_LOG_LEVEL": "ERROR"}
    seed = world.random.randrange(2**31)
    command = [sys.executable, "-m", "tests.faults.interleavings", str(lives), str(seed)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
