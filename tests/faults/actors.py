"""Keysat's tasks run step by step: each stops before and after every transaction, call and message, until it may go on.

One thread for each actor, of which only one runs at a time, so that a seed decides the order of all that happens.
"""

import threading
from contextlib import contextmanager

from keysat.core.errors import KeysatError

_current = threading.local()


class Died(BaseException):
    """The process ends here. No code catches it."""


class Actor:
    """One run of a task. `error` is what it ended with that no task should end with."""

    def __init__(self, name, run) -> None:
        self.name, self.done, self.error = name, False, None
        self._run, self._doomed = run, False
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._live, name=name, daemon=True).start()

    def resume(self) -> None:
        """Let it go on to its next boundary, or its end."""
        self._go.release()
        self._back.acquire()

    def kill(self) -> None:
        """Let the process die at this point."""
        self._doomed = True
        self.resume()

    def stop_here(self) -> None:
        """From within: let others go on, and perhaps never return."""
        self._back.release()
        self._go.acquire()
        self.die_if_doomed()

    def die_if_doomed(self) -> None:
        if self._doomed:
            raise Died

    def _live(self):
        self._go.acquire()
        _current.actor = self
        try:
            self.die_if_doomed()
            self._run()
        except (KeysatError, Died):
            pass  # a refusal, or a death: both are ends that the world must stand
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a breach
            self.error = repr(error)
        self.done = True
        self._back.release()


def boundary() -> None:
    """A place where others may come in between, and where a process may die."""
    actor = getattr(_current, "actor", None)
    if actor is not None:
        actor.stop_here()


class Transactions:
    """Transactions and reads over two connections. `breaches` counts what must not happen while one is open."""

    def __init__(self, writing, reading, chance_of_death) -> None:
        self._writing, self._reading, self._dies = writing, reading, chance_of_death
        self._open, self.breaches = 0, []

    @contextmanager
    def begin(self):
        boundary()
        with self._writing() as session:
            self._open += 1
            try:
                yield session
                if getattr(_current, "actor", None) is not None and self._dies():
                    raise Died
            finally:
                self._open -= 1
        boundary()

    @contextmanager
    def read(self):
        self.outside("a second connection")
        with self._reading() as session:
            yield session

    def outside(self, what: str) -> None:
        """A call or message begins: no transaction may be open."""
        if self._open:
            self.breaches.append(f"{what} inside a transaction")
        else:
            boundary()
