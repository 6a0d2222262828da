"""The cut of `make faults` that every run of the tests makes, with a seed of its own each time.

It is a process of its own, since what it imports makes everything six times as fast.
"""

import subprocess
import sys

from tests.faults.mutations import MUTATIONS, ROOT

SECONDS = 180


def test_nothing_paid_is_lost_and_nothing_is_issued_twice():
    command = [sys.executable, "-m", "tests.faults", "--short"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_each_mutation_still_fits_the_code():
    changes = [change for mutation in MUTATIONS for change in mutation.changes]
    assert changes
    assert [one for one in changes if (ROOT / one.file).read_text().count(one.old) != 1] == []
