"""Converts Ctrl-C and other stop signals to events."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stop_signals() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Within the context, the first SIGINT, SIGTERM or SIGHUP sets the first event, the next one the second.

    Only the main thread can enter the context. A SIGHUP that is already ignored, as under nohup, stays ignored.
    """
    stop, hurry = threading.Event(), threading.Event()
    # A handler may interrupt code inside an event's lock, so it must not set an event. A SimpleQueue is safe there.
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
