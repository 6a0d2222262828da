"""Dumps of the tests' database, and README's restore of one."""

import subprocess

from sqlalchemy import make_url

from keysat.core.db import engine
from keysat.core.settings import load_settings
from keysat.embedded.binaries import postgres_binaries, server_environment

_EMPTY = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"


def run(program, *arguments, check=True):
    """Run one of PostgreSQL's programs on the database of the settings. Returns its output in bytes."""
    url = make_url(load_settings().database_url)
    where = [f"--host={url.query['host']}", f"--username={url.username}", f"--dbname={url.database}"]
    command = [str(postgres_binaries() / program), *where, *arguments]
    return subprocess.run(command, env=server_environment(), check=check, capture_output=True).stdout


def dump_to(path, *arguments):
    """Write a dump in the custom format, while other sessions continue."""
    run("pg_dump", "--format=custom", f"--file={path}", *arguments)


def restore_from(path):
    """Put a dump in the place of all that is there."""
    engine().dispose()
    run("psql", f"--command={_EMPTY}")
    run("pg_restore", "--no-owner", "--exit-on-error", str(path))
