"""A PostgreSQL that is shut down at once, cut off at COMMIT, full of deadlocks, and out of disk."""

import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2

from tests.faults.proxy import Proxy
from tests.faults.report import Report, judged
from tests.faults.world import World
from tests.nodes import wait_until

BUYERS_A_SECOND = 8
RECOVERED = 10.0
# A trigger that lets a share of the writes fail as PostgreSQL does when transactions stand in each other's way.
_CONFLICTS = """
CREATE SEQUENCE IF NOT EXISTS oracle.conflicts;
CREATE OR REPLACE FUNCTION oracle.conflict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF random() < {share} THEN
        PERFORM nextval('oracle.conflicts');
        IF random() < 0.5 THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01';
        ELSE RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'; END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER conflict AFTER UPDATE ON invoices FOR EACH ROW EXECUTE FUNCTION oracle.conflict();
CREATE OR REPLACE TRIGGER conflict AFTER INSERT ON licenses FOR EACH ROW EXECUTE FUNCTION oracle.conflict();
CREATE OR REPLACE TRIGGER conflict AFTER INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION oracle.conflict();
"""
_NO_CONFLICTS = "".join(
    f"DROP TRIGGER IF EXISTS conflict ON {table};" for table in ("invoices", "licenses", "audit_log")
)


def restart_database(world: World, restarts: int) -> Report:
    """Shut PostgreSQL down with `-m immediate` under load, again and again."""
    world.worker()
    world.beat()
    world.web()
    worst = 0.0
    for _ in range(restarts):
        with world.buyers(BUYERS_A_SECOND):
            time.sleep(world.random.uniform(0.5, 1.5))
            os.kill(world.postgres.pid, signal.SIGQUIT)
            world.postgres.wait()
            time.sleep(world.random.uniform(0, 1))
            world.postgres.start()
            ended = time.monotonic()
        worst = max(worst, world.recover(ended))
    report = judged("PostgreSQL shut down at once", restarts, world, worst)
    report.within("recovered within", worst, RECOVERED)
    return report


def cut_commits(world: World, cuts: int) -> Report:
    """Cut connections at COMMIT, before it or its response arrives, so the outcome is unknown."""
    counted = {"before": 0, "after": 0}

    def cut(data: bytes) -> str | None:
        if b"COMMIT" not in data or world.random.random() > 0.2 or sum(counted.values()) >= cuts:
            return None
        way = ("before", "after")[sum(counted.values()) % 2]
        counted[way] += 1
        return way

    with Proxy(str(world.settings.run_dir / ".s.PGSQL.5432"), cut) as proxy:
        through = {"DATABASE_URL": f"postgresql+psycopg2://keysat@127.0.0.1:{proxy.port}/keysat?sslmode=disable"}
        world.worker(**through)
        world.beat(**through)
        world.web(**through)
        with world.buyers(2 * BUYERS_A_SECOND):
            wait_until(lambda: sum(counted.values()) >= cuts, timeout=600)
        seconds = world.recover(time.monotonic())
        report = judged("connection cut at COMMIT", sum(counted.values()), world, seconds)
        report.at_least("cut before the COMMIT arrived", counted["before"], 1)
        report.at_least("cut before its answer came", counted["after"], 1)
        return report


def force_conflicts(world: World, conflicts: int, share: float = 0.2) -> Report:
    """Let one in five writes end in a deadlock or a serialization failure."""
    world.worker()
    world.beat()
    world.web()

    def made() -> int:
        return world.oracle.count("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM oracle.conflicts")

    with world.oracle.query() as cursor:
        cursor.execute(_CONFLICTS.format(share=share))
    with world.buyers(BUYERS_A_SECOND):
        wait_until(lambda: made() >= conflicts, timeout=600)
    with world.oracle.query() as cursor:
        cursor.execute(_NO_CONFLICTS)
    times, seconds = made(), world.recover(time.monotonic())
    with world.oracle.query() as cursor:
        cursor.execute("DROP SEQUENCE oracle.conflicts CASCADE; DROP FUNCTION oracle.conflict CASCADE")
    return judged("deadlock, serialization failure", times, world, seconds)


def fill_disk(world: World, seconds: float, megabytes: int = 160) -> Report:
    """Move the data to a small disk and fill it: nothing is sold, and no sale is reported."""
    with _small_disk(world, megabytes) as disk:
        world.worker()
        world.beat()
        world.web()
        world.sell(20)
        world.recover(time.monotonic())
        ballast = disk / "ballast"
        _fill(ballast)
        began = time.monotonic()
        refused = 0
        while time.monotonic() < began + seconds:
            try:
                world.sell(1)
            except Exception:  # noqa: BLE001 - whatever it is, nothing was sold
                refused += 1
                _fill(ballast)
        during = _breaches(world)
        ballast.unlink()
        world.postgres.start()  # as its supervisor would, should it have given up
        ended = time.monotonic()
        wait_until(lambda: _serves(world), timeout=30)
        world.sell(20)
        recovered = world.recover(ended)
        report = judged("disk full", 1, world, recovered)
        report.at_least("sales refused meanwhile", refused, 1)
        report.breaches += during
        return report


@contextmanager
def _small_disk(world: World, megabytes: int):
    """PostgreSQL with its data on a disk of that size, for as long as the block lasts."""
    cluster = Path(world.settings.data_dir) / "postgres"
    aside = cluster.with_name("postgres.aside")
    world.postgres.stop()
    cluster.rename(aside)
    cluster.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(cluster)], check=True)
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", str(cluster)], check=True)
        world.postgres.start()
        yield cluster
    finally:
        world.close()
        world.postgres.stop()
        subprocess.run(["umount", "-l", str(cluster)], check=True)
        cluster.rmdir()
        aside.rename(cluster)
        world.postgres.start()


def _fill(ballast: Path) -> None:
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(65_536))


def _breaches(world: World) -> list[str]:
    """What is wrong while the disk is full, where the database can be read then."""
    with suppress(psycopg2.Error):
        return world.oracle.judge().breaches
    return []


def _serves(world: World) -> bool:
    with suppress(psycopg2.Error):
        return world.oracle.licenses() >= 0
    return False
