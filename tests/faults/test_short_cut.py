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


def test_each_mutation_still_fits_the_code():
    changes = [change for mutation in MUTATIONS for change in mutation.changes]
    assert changes
    assert [change for change in changes if (ROOT / change.file).read_text().count(change.old) != 1] == []
