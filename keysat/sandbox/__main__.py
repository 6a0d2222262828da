"""`python -m keysat.sandbox --port N` serves a sandbox until it is interrupted."""

from __future__ import annotations

import argparse
import sys

from keysat.core.errors import KeysatError
from keysat.sandbox.server import run


def main() -> int:
    """Parse the command line and serve. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="keysat.sandbox", description="A provider that can misbehave.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    wanted = parser.parse_args()
    try:
        run(wanted.host, wanted.port)
    except KeysatError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
