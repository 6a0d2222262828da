"""Keysat's program on a module that changes the app first: `python -m tests.program tests.faults.hasty worker -c 2`."""

import sys
from importlib import import_module

if __name__ == "__main__":
    import_module(sys.argv.pop(1))
    from keysat.worker import run

    run()
