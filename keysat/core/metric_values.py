"""Metrics in memory, written to the process's file as they change, and their sums over all processes."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from keysat.core import metric_files, notices
from keysat.core.logs import get_logger
from keysat.core.metric_files import UNUSABLE, MetricFile

log = get_logger(__name__)

RETRY_SECONDS = 30.0


class Value:
    """A value for Prometheus's client library. `before` is the file's value when this process took the file."""

    _multiprocess = True

    def __init__(self, store: Store, key: str) -> None:
        self._store, self.key = store, key
        self.before = self.own = 0.0

    def inc(self, amount: float) -> None:
        self._store.add(self, amount)

    def set(self, value: float, timestamp: float | None = None) -> None:  # noqa: ARG002 - the library's signature
        self._store.add(self, value - self.get())

    def get(self) -> float:
        return self.before + self.own

    def set_exemplar(self, exemplar: object) -> None:
        """Do nothing. Exemplars aren't stored."""

    def get_exemplar(self) -> None:
        """Return None. Exemplars aren't stored."""


class Store:
    """All values of this process, and its file if it has one."""

    def __init__(self, directory: Path, program: str) -> None:
        self.directory, self._program = directory, program
        self._lock = Lock()
        self._values: dict[str, Value] = {}
        self._file: MetricFile | None = None
        self._rests_until = 0.0
        self._failed = False
        self._left_out: set[Path] = set()
        self._checked_at = 0.0
        os.register_at_fork(after_in_child=self._begin_in_child)

    def value(
        self,
        _type: str,
        metric: str,
        name: str,
        labels: tuple[str, ...],
        label_values: tuple[str, ...],
        about: str,
        **_: object,
    ) -> Value:
        """Return the value of a sample, creating it if needed."""
        key = metric_files.key_of(metric, name, dict(zip(labels, label_values, strict=True)), about)
        with self._lock:
            if key not in self._values:
                self._values[key] = Value(self, key)
                if self._file is not None:
                    self._values[key].before = self._file.get(key)
            return self._values[key]

    def open(self) -> None:
        """Take a file early, so that a failure is logged at startup."""
        with self._lock:
            self._attempt(None)
            if not self._failed:
                notices.withdraw(notices.METRICS, self._program)

    def add(self, value: Value, amount: float) -> None:
        """Add to a value, and write it if possible."""
        with self._lock:
            value.own += amount
            if self._file is not None:
                self._file.put(value.key, value.get())
            if time.monotonic() >= self._rests_until:
                self._attempt(value)

    def samples(self) -> Iterator[tuple[str, float]]:
        """Yield the keys and values of this process and all others."""
        with self._lock:
            own = {value.key: value.get() for value in self._values.values()}
            path = self._file.path if self._file else None
            kept = {} if self._file is None else self._file.values()
        yield from {**kept, **own}.items()
        for other_path in metric_files.files_in(self.directory):
            if other_path != path:
                try:
                    yield from metric_files.read_file(other_path)
                except FileNotFoundError:
                    continue
                except UNUSABLE as error:
                    if other_path not in self._left_out:
                        log.warning("a file of metrics is left out", file=str(other_path), reason=str(error))
                    self._left_out.add(other_path)

    def _attempt(self, value: Value | None) -> None:
        try:
            if self._file is not None and time.monotonic() - self._checked_at > metric_files.CHECK_SECONDS:
                self._checked_at = time.monotonic()
                if self._file.lost:
                    self._let_go()
            if self._file is None:
                self._take()
            if value is not None and self._file is not None:
                self._file.save(value.key)
        except UNUSABLE as error:
            self._rests_until = time.monotonic() + RETRY_SECONDS
            reason = getattr(error, "strerror", None) or str(error)
            if not self._failed:
                log.warning("metrics are not stored", directory=str(self.directory), reason=reason)
            self._failed = True
            sentence = f"{self.directory} can't be written ({reason}), so metrics are not stored; make it writable."
            notices.notice(notices.METRICS, self._program, sentence)
            return
        if self._failed:
            self._failed = False
            log.info("metrics are stored again", directory=str(self.directory))
            notices.withdraw(notices.METRICS, self._program)

    def _take(self) -> None:
        self._file = metric_files.take(self.directory, self._program)
        self._checked_at = time.monotonic()
        for value in self._values.values():
            value.before = self._file.get(value.key)
            if value.own:
                self._file.put(value.key, value.get())

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin_in_child(self) -> None:
        """In a forked child, reset the values and leave the file to its parent."""
        self._lock = Lock()
        self._let_go()
        self._rests_until = 0.0
        for value in self._values.values():
            value.before = value.own = 0.0


class Totals(Collector):
    """The sums of the given metrics over all processes' files. Other metrics are left out."""

    def __init__(self, store: Store, described: list[Metric]) -> None:
        self._store, self._described = store, described

    def describe(self) -> Iterator[Metric]:
        """Return nothing, because registering must not read the files."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its sums."""
        sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = defaultdict(lambda: defaultdict(float))
        for key, value in self._store.samples():
            try:
                metric, sample, labels, _ = json.loads(key)
                sums[metric][sample, tuple(sorted((str(name), str(of)) for name, of in labels.items()))] += value
            except (ValueError, TypeError, AttributeError):
                continue  # written by another version
        for metric in self._described:
            family = Metric(metric.name, metric.documentation, metric.type)
            known = {f"{metric.name}_{suffix}" for suffix in _SUFFIXES[metric.type]}
            found = {at: value for at, value in sums[metric.name].items() if at[0] in known}
            for (sample, labels), value in _cumulated(metric.name, found).items():
                family.add_sample(sample, dict(labels), value)
            yield family


_SUFFIXES = {"counter": ("total",), "histogram": ("bucket", "sum")}
_Sums = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def _cumulated(metric: str, sums: _Sums) -> _Sums:
    """Return a histogram's cumulative buckets and their count, as Prometheus expects them."""
    buckets: dict[tuple[tuple[str, str], ...], dict[float, float]] = defaultdict(lambda: defaultdict(float))
    result = {}
    for (sample, labels), value in sums.items():
        if sample != f"{metric}_bucket":
            result[sample, labels] = value
            continue
        try:
            bound = float(dict(labels)["le"])
        except (KeyError, ValueError):
            continue
        buckets[tuple(label for label in labels if label[0] != "le")][bound] += value
    for labels, by_bound in buckets.items():
        below = 0.0
        for bound, value in sorted(by_bound.items()):
            below += value
            result[f"{metric}_bucket", (*labels, ("le", floatToGoString(bound)))] = below  # type: ignore[no-untyped-call]
        result[f"{metric}_count", labels] = below
    return result
