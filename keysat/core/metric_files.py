"""Files with metrics, each locked and written by one process.

The format is that of Prometheus's client library. The files are written with plain writes, not through a memory map.
On a full disk, or when the file is truncated, a write fails, but a memory map ends the process.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from keysat.core.hints import Advice, Hint
from keysat.core.logs import get_logger

log = get_logger(__name__)

UNUSABLE = (OSError, ValueError, struct.error)  # raised by reading and writing these files
MAX_BYTES = 16_777_216
MAX_SLOTS = 1_000
CHECK_SECONDS = 1.0
_NUMBER = struct.Struct("i")
_VALUE = struct.Struct("dd")
_HEADER_BYTES = 8


def entries_in(data: bytes) -> Iterator[tuple[str, float, int]]:
    """Yield the key, the value and the value's position of each entry.

    Raises:
        ValueError: the data has another format, or is truncated.
        struct.error: same as ValueError.
    """
    if not data:
        return
    (used,) = _NUMBER.unpack_from(data)
    if used == 0:
        return
    if not _HEADER_BYTES <= used <= len(data):
        raise ValueError(f"it should have {used} bytes and has {len(data)}")
    at = _HEADER_BYTES
    while at < used:
        (length,) = _NUMBER.unpack_from(data, at)
        place = at + 4 + length + (8 - (length + 4) % 8)
        if length < 2 or place + _VALUE.size > used:
            raise ValueError(f"the entry at {at} can't be read")
        value, _ = _VALUE.unpack_from(data, place)
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"the entry at {at} counts {value}")
        yield data[at + 4 : at + 4 + length].decode(), value, place
        at = place + _VALUE.size


def key_of(metric: str, sample: str, labels: dict[str, str], about: str) -> str:
    return json.dumps([metric, sample, labels, about], sort_keys=True)


class MetricFile:
    """This process's file. Its lock ends with the process."""

    def __init__(self, path: Path, descriptor: int, data: bytes) -> None:
        self.path, self._descriptor = path, descriptor
        self._places = {key: place for key, _, place in entries_in(data)}
        used = _NUMBER.unpack_from(data)[0] if data else 0
        self._image = bytearray(data[:used] if used else _NUMBER.pack(_HEADER_BYTES) + bytes(4))
        self._whole = False  # whether the file's content is that of the image
        self._checked_at = 0.0

    def get(self, key: str) -> float:
        """Return a sample's value, or 0 if there is none."""
        place = self._places.get(key)
        return 0.0 if place is None else float(_VALUE.unpack_from(self._image, place)[0])

    def values(self) -> dict[str, float]:
        """Return the values of all samples by key."""
        return {key: self.get(key) for key in self._places}

    def put(self, key: str, value: float) -> None:
        """Set a sample's value in memory. `save` writes it."""
        if key not in self._places:
            self._append(key)
        _VALUE.pack_into(self._image, self._places[key], value, 0.0)

    def save(self, key: str) -> None:
        """Write a sample, or all samples if the file was changed by others.

        Raises:
            OSError: it can't be written.
        """
        if self._whole and time.monotonic() - self._checked_at > CHECK_SECONDS:
            self._checked_at = time.monotonic()
            self._whole = os.pread(self._descriptor, len(self._image) + 1, 0) == self._image
            if not self._whole:
                log.warning("another program changed the metrics file, and it is written again", file=str(self.path))
        if self._whole:
            place = self._places[key]
            self._write(self._image[place : place + _VALUE.size], place)
            return
        os.ftruncate(self._descriptor, len(self._image))
        self._write(self._image, 0)

    @property
    def lost(self) -> bool:
        """Whether the file was deleted or replaced."""
        try:
            there, own = self.path.stat(), os.fstat(self._descriptor)
        except OSError:
            return True
        return (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino)

    def close(self) -> None:
        """Close the file. This releases the lock if no other process has the descriptor."""
        os.close(self._descriptor)

    def _append(self, key: str) -> None:
        encoded = key.encode()
        padded = encoded + b" " * (8 - (len(encoded) + 4) % 8)
        self._image += _NUMBER.pack(len(encoded)) + padded + _VALUE.pack(0.0, 0.0)
        self._places[key] = len(self._image) - _VALUE.size
        _NUMBER.pack_into(self._image, 0, len(self._image))
        self._whole = False

    def _write(self, data: bytes | bytearray, at: int) -> None:
        self._whole = False  # until the write succeeds
        if os.pwrite(self._descriptor, data, at) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._whole = True


def take(directory: Path, program: str) -> MetricFile:
    """Open the program's first file that no living process has. A file that can't be read is set aside.

    Raises:
        OSError: no file can be written.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    trouble = OSError(errno.EMFILE, "all files are in use")
    for number in range(MAX_SLOTS):
        path = directory / f"counter_{program}-{number}.db"
        for _ in range(2):  # again after an unreadable file was set aside
            try:
                taken = _take(path)
            except OSError as error:
                if error.errno not in {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTEMPTY, errno.ENXIO}:
                    raise
                trouble = error
                break
            except (ValueError, struct.error) as error:
                log.warning("a file of metrics can't be read, and is set aside", file=str(path), reason=str(error))
                continue
            if taken is None:
                break
            return taken
    raise trouble


def _take(path: Path) -> MetricFile | None:
    """Open and lock the file. Returns None if another process has it. A file that can't be read is renamed.

    Raises:
        OSError: it can't be opened or renamed.
        ValueError: it was renamed.
        struct.error: same as ValueError.
    """
    if path.is_dir():
        path.replace(f"{path}.corrupt")
        raise ValueError("it is a folder")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no file")
        taken = MetricFile(path, descriptor, os.pread(descriptor, MAX_BYTES, 0))
    except BlockingIOError:
        os.close(descriptor)
        return None
    except UNUSABLE as error:
        if not isinstance(error, OSError):
            path.replace(f"{path}.corrupt")
        os.close(descriptor)
        raise
    if taken.lost:  # another process has just set it aside
        taken.close()
        return None
    return taken


def read_file(path: Path) -> list[tuple[str, float]]:
    """Return the keys and values in a file.

    Raises:
        OSError, ValueError, struct.error: it can't be read.
    """
    if not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as file:
        return [(key, value) for key, value, _ in entries_in(file.read(MAX_BYTES))]


def files_in(directory: Path) -> list[Path]:
    """Return the files of all processes, including dead ones, or none if the folder can't be read."""
    try:
        return sorted(path for path in directory.iterdir() if path.suffix == ".db")
    except OSError:
        return []


def trouble_in(directory: Path) -> list[Advice]:
    """Return what prevents metrics from being stored or shown."""
    try:
        names = list(directory.iterdir())
    except FileNotFoundError:
        return []  # no process has counted anything yet
    except OSError as error:
        sentence = f"{directory} can't be read ({error.strerror}), so nothing is counted."
        return [Advice(sentence, Hint.SET_METRICS_DIR)]
    found = []
    if not os.access(directory, os.W_OK | os.X_OK):
        found.append(f"{directory} can't be written, so nothing is counted; give it to the user Keysat runs as.")
    elif os.statvfs(directory).f_bavail == 0:
        found.append(f"the disk of {directory} is full, so nothing is counted; make room.")
    aside = (path for path in names if path.suffix == ".corrupt")
    found += [
        f"{path} is a broken file of metrics that was set aside, without its counts; delete it." for path in aside
    ]
    for path in files_in(directory):
        try:
            read_file(path)
        except FileNotFoundError:
            continue
        except UNUSABLE as error:
            found.append(f"{path} is no readable file of metrics ({error}) and is left out of /metrics; delete it.")
    return [Advice(sentence) for sentence in found]
