"""The Makefile sets up from any shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_environment_is_made_by_the_python_below_where_it_is_active_itself():
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    made = subprocess.run(
        ["make", "--dry-run", "--always-make", "setup"],
        cwd=ROOT,
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = [line for line in made.stdout.splitlines() if "-m venv" in line]
    used = shutil.which(line.split()[0], path=path)
    below = subprocess.check_output([used, "-c", "import sys; print(sys.prefix == sys.base_prefix)"], text=True)
    assert below == "True\n"
