"""Running the months of subscriptions: one process for each core, each over a database of its own."""

import json
import os
import subprocess
import sys

from tests.faults.report import Report
from tests.faults.world import World

_NOTHING = '{"paid": 0, "refunded": 0, "deaths": 0, "outages": 0, "lapsed": 0, "breaches": {"no answer": 1}}'


def renew_for_months(world: World, licenses: int, months: int) -> Report:
    """Let so many subscriptions live so many months. Each paid period extends its license, once, and nothing else."""
    processes = max(1, os.cpu_count() or 1)
    databases = [f"months_{number}" for number in range(processes)]
    running = [_start(world, name, -(-licenses // processes), months) for name in databases]
    found = [json.loads(process.communicate()[0] or _NOTHING) for process in running]
    for name in databases:
        world.oracle.run(f"DROP DATABASE {name} WITH (FORCE)")
    total = {name: sum(run[name] for run in found) for name in ("paid", "refunded", "deaths", "outages", "lapsed")}
    breaches = [f"{times} times {what}" for run in found for what, times in run["breaches"].items()]
    report = Report("subscriptions", licenses, total["paid"], total["paid"], 0, 0, 0.0, breaches)
    report.at_least("periods paid", total["paid"], licenses * months // 2)
    report.at_least("deaths of workers", total["deaths"], licenses * months // 20)
    report.at_least("outages of the provider and of ours", total["outages"], processes)
    report.at_least("six hours of lapsed licenses", total["lapsed"], 1)
    return report


def _start(world: World, database: str, licenses: int, months: int) -> subprocess.Popen:
    world.oracle.run(f"CREATE DATABASE {database}")
    url = world.settings.database_url.replace("/keysat?", f"/{database}?")
    environment = {**os.environ, "DATABASE_URL": url, "KEYSAT_LOG_LEVEL": "ERROR"}
    seed = world.random.randrange(2**31)
    command = [sys.executable, "-m", "tests.faults.months", str(licenses), str(months), str(seed)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
