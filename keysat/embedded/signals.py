"""Ctrl-C and its kin, as events."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stop_signals() -> Iterator[tuple[threading.Event, threading.Event]]:
    """While entered: the first SIGINT, SIGTERM or SIGHUP sets the first event, the second one the second.

    Only the main thread can enter it. A SIGHUP that is ignored already, as under nohup, stays so.
    """
    stop, hurry = threading.Event(), threading.Event()
    # A handler may interrupt an event's own lock, so it must not set one; a SimpleQueue is made for handlers.
    arrived: queue.SimpleQueue[int] = queue.SimpleQueue()

    def relay() -> None:
        for event in (stop, hurry):
            if not arrived.get():
                return
            event.set()

    thread = threading.Thread(target=relay, name="stop-signals", daemon=True)
    thread.start()
    before = {
        number: signal.signal(number, lambda received, _: arrived.put(received))
        for number in _STOPPING
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield stop, hurry
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        arrived.put(0)
        thread.join()
