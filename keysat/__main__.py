"""The `keysat` command, also as `python -m keysat`. Ctrl-C ends it without a traceback at any moment."""

import os
import signal
import sys
from contextlib import suppress


def run() -> None:
    """Run the command line. Write the rest of its output, or drop it if no process reads it any more."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # nohup has it ignored, and so do we
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from keysat.cli import main  # noqa: PLC0415 - loaded with the signal set as above

    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        _flush()


def _flush() -> None:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):  # else the interpreter complains of it once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    run()
