"""A scratch directory with its own PostgreSQL and Valkey, for the tests and the benchmarks.

Import it before anything of Keysat: the settings are read once.
"""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SCRATCH = Path(tempfile.mkdtemp(prefix="keysat-tests-"))
for name in [name for name in os.environ if name.startswith("KEYSAT_")] + ["DATABASE_URL", "BROKER_URL"]:
    os.environ.pop(name, None)
os.environ["KEYSAT_DATA_DIR"] = str(SCRATCH / "data")
os.environ["KEYSAT_LOG_LEVEL"] = "WARNING"
for what in (
    "VALIDATE",
    "PURCHASE",
    "RECOVER",
    "WEBHOOK",
    "ADMIN",
):  # all tests have one address, and the tests of the limits set them
    os.environ[f"KEYSAT_RATE_{what}"] = "1000000/minute"

from keysat.core.db import engine
from keysat.core.settings import Settings, load_settings
from keysat.embedded.prepare import prepare
from keysat.embedded.servers import Postgres, Valkey
from keysat.tasks.app import app

FAST = {"fsync": "off", "max_connections": "300", "synchronous_commit": "off"}


class Servers(NamedTuple):
    """What runs, and the settings by which it is reached."""

    settings: Settings
    postgres: Postgres
    valkey: Valkey


@contextmanager
def running_servers(options=FAST):
    """PostgreSQL and Valkey with the schema and the keys in place, all removed afterwards."""
    settings = load_settings()
    postgres = Postgres(settings.data_dir, settings.run_dir, options)
    valkey = Valkey(settings.data_dir, settings.run_dir)
    try:
        postgres.start()
        valkey.start()
        prepare(settings, lambda _: None)
        yield Servers(settings, postgres, valkey)
    finally:
        engine().dispose()
        app.pool.force_close_all()
        for server in (postgres, valkey):
            server.stop()
        shutil.rmtree(SCRATCH, ignore_errors=True)
