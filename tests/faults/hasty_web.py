"""The web server of the hasty app: `python -m tests.faults.hasty_web`."""

import sys

import tests.faults.hasty  # noqa: F401 - sets the schedule before anything else reads it
from keysat.cli import main

if __name__ == "__main__":
    sys.argv = ["keysat", "web"]
    sys.exit(main())
