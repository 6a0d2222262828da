"""`make faults`: every fault, its figures and its seed. Exits with 1 if one fails.

`--seed N` repeats a run, `--only NAME` runs one fault, `--short` is the cut that `make test` makes.
"""

import argparse
import random
import sys
from functools import partial

from tests.environment import running_servers  # isort: skip - it sets the environment of the following imports

from tests.faults import (
    beat,
    broker,
    crashes,
    database,
    frozen,
    mail,
    provider,
    restore,
    simulation,
    stopping,
    subscriptions,
    workers,
)
from tests.faults.report import Report, table
from tests.faults.stopwatch import Stopwatch
from tests.faults.world import world

# Commits must survive a server that is shut down at once, but not the loss of the machine.
OPTIONS = {"fsync": "off", "max_connections": "300"}

SHORT_SLACK = 12.0  # on a machine that is busy with other things

# For each fault what runs it, and how much of it: all, and in the short cut.
FAULTS = {
    "workers": (workers.kill_workers, {"kills": 200, "invoices": 20_000}, {"kills": 3, "invoices": 150}),
    "broker": (
        broker.break_broker,
        {"wipes": 10, "kills": 20, "stopped_seconds": 20, "swallowed_seconds": 30, "full_seconds": 10},
        {"wipes": 1, "kills": 1, "stopped_seconds": 0, "swallowed_seconds": 1, "full_seconds": 0},
    ),
    "restarts": (database.restart_database, {"restarts": 20}, None),
    "commits": (database.cut_commits, {"cuts": 200}, {"cuts": 10}),
    "conflicts": (database.force_conflicts, {"conflicts": 500}, None),
    "disk": (database.fill_disk, {"seconds": 20}, None),
    "beats": (beat.kill_beats, {"kills": 8, "every_seconds": 30}, None),
    "frozen": (frozen.freeze_worker, {"freezes": 50}, None),
    "clocks": (frozen.set_clocks_wrong, {"minutes": 10, "invoices": 500}, None),
    "database-clock": (frozen.set_database_clock_wrong, {"days": 40, "times": 6, "seconds": 17}, None),
    "crashes": (crashes.die_everywhere, {}, {"paths": 1, "most_points": 1}),
    "provider": (provider.misbehave, {"seconds": 60}, None),
    "creates": (provider.refuse_creates, {"seconds": 60}, None),
    "restore": (restore.restore_dumps, {"restores": 6, "seconds": 10}, {"restores": 1, "seconds": 1}),
    "mail": (mail.trouble_mail, {"licenses": 2_000, "kills": 20}, {"licenses": 40, "kills": 4}),
    "outage": (provider.be_down, {"hours": 6, "pending": 5_000, "paid": 500}, None),
    "interleavings": (simulation.interleave, {"lives": 100_000}, {"lives": 400}),
    "subscriptions": (
        subscriptions.renew_for_months,
        {"licenses": 2_000, "months": 24},
        None,
    ),
    "stops": (stopping.terminate_workers, {"times": 100}, None),
    "soak": (stopping.soak, {"seconds": 300}, None),
}


def main() -> int:
    """Run the faults that the command line asks for."""
    wanted = _arguments()
    seed = random.SystemRandom().randrange(2**31) if wanted.seed is None else wanted.seed
    print(f"seed {seed}", flush=True)
    reports = []
    Report.slack = SHORT_SLACK if wanted.short else 1.0
    with running_servers(OPTIONS) as servers:
        for name in wanted.only or FAULTS:
            run, full, short = FAULTS[name]
            amount = short if wanted.short else full
            if amount is None:
                continue
            print(f"{name} {', '.join(f'{key}={value}' for key, value in amount.items())} ...", flush=True)
            report = _run(partial(run, **amount), servers, seed)
            print(table([report]), flush=True)
            reports.append(report)
    print("", table(reports), f"\nseed {seed}", sep="\n")
    return 0 if all(report.held for report in reports) else 1


def _run(fault, servers, seed) -> Report:
    watch = Stopwatch()
    with world(servers, seed) as fresh:
        report = fault(fresh)
    report.took = watch.seconds
    return report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int)
    parser.add_argument("--only", action="append", choices=list(FAULTS))
    parser.add_argument("--short", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
