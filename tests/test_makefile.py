"""The Makefile sets up from any shell."""

import os
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"


@pytest.mark.parametrize(("active", "is_kept"), [(".venv", False), ("another", True)])
def test_makefile_chooses_python(tmp_path, active, is_kept):
    """The active Python creates the environment, but not if it is the one to be replaced."""
    for name in ("requirements-dev.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    venv.create(tmp_path / active, symlinks=True)
    path = f"{tmp_path / active / 'bin'}:{os.environ['PATH']}"
    command = ["make", "--dry-run", "--file", MAKEFILE, "setup"]
    made = subprocess.run(command, cwd=tmp_path, env={"PATH": path}, capture_output=True, text=True, check=True)
    (line,) = [line for line in made.stdout.splitlines() if "-m venv" in line]
    used = shutil.which(line.split()[0], path=path)
    asked = "import os, sys; print(os.path.realpath(sys.prefix))"
    prefix = subprocess.check_output([used, "-c", asked], text=True).strip()
    assert (prefix == str((tmp_path / active).resolve())) is is_kept
