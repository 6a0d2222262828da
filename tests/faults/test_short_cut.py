"""The cut of `make faults` that every run of the tests makes, with a seed of its own each time.

It is a process of its own, since what it imports makes everything six times as fast.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.faults.mutations import MUTATIONS, ROOT

SECONDS = 1_200


@pytest.mark.servers
def test_nothing_paid_is_lost_and_nothing_is_issued_twice():
    command = [sys.executable, "-m", "tests.faults", "--short"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        said, _ = process.communicate(timeout=SECONDS)
    finally:
        with suppress(ProcessLookupError):  # its servers and workers, too, should it have been cut off
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said


UNREACHED = """
import shutil
import tests.environment
from math import inf
from tests.faults.crashes import BARS, unreached
from tests.faults.report import Report

lives = {"scan, here": dict.fromkeys(BARS, 1.0), "scan, there": {**dict.fromkeys(BARS, 1.0), "tipped": inf}}
assert unreached(lives) == ["never tipped, at scan, there"], unreached(lives)
for breaches, held in ((unreached(lives), False), (unreached({"scan, here": lives["scan, here"]}), True)):
    assert Report("death", 1, 1, 1, 0, 0, 1.0, breaches).held is held
late = Report("death", 1, 1, 1, 0, 0, 1.0, [])
late.within("tipped within", inf, BARS["tipped"])
assert not late.held
shutil.rmtree(tests.environment.SCRATCH)
"""


@pytest.mark.slow
def test_stage_that_is_never_reached_is_a_breach():
    subprocess.run([sys.executable, "-c", UNREACHED], cwd=ROOT, check=True, timeout=SECONDS)


def test_each_mutation_still_fits_the_code():
    changes = [change for mutation in MUTATIONS for change in mutation.changes]
    assert changes
    assert [change for change in changes if (ROOT / change.file).read_text().count(change.old) != 1] == []
