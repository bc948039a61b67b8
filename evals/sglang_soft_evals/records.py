"""`samples.jsonl`: one finished sample a line, written so that a kill at any moment loses and
repeats nothing.

A record is one `write` of one line. A kill can tear the last line only; it then has no newline and
is cut off when the file is opened again. A lock on the file keeps a second run out.
"""

import fcntl
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

SYNC_EVERY = 1.0
"""Seconds between two fsyncs: what a power failure can cost. A killed process costs nothing."""


class Key(NamedTuple):
    """What names a sample within a run."""

    method: str
    question: str
    sample: int


def key(record: dict[str, Any]) -> Key:
    return Key(record["method"], record["question"], record["sample"])


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole record. Raises ValueError naming the line that is not one."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number} is not a record: {error}.") from error


class Records:
    """Append-only records of one run.

    Args:
        path: the file, made where it is missing.
        retry_failed: forget failed records, so that they are asked again.

    Raises:
        ValueError: another run holds the file, a line is no record, or a sample occurs twice.
    """

    def __init__(self, path: Path, *, retry_failed: bool = False) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._fd)
            raise ValueError(f"{path} belongs to a run that is still going.") from error
        self._synced = time.monotonic()
        try:
            self.torn_bytes = self._repair()
            self.done = self._load(retry_failed)
        except BaseException:
            os.close(self._fd)
            raise

    def _load(self, retry_failed: bool) -> dict[Key, dict[str, Any]]:
        done: dict[Key, dict[str, Any]] = {}
        for record in read(self.path):
            if key(record) in done:
                raise ValueError(f"{self.path}: {key(record)} occurs twice.")
            done[key(record)] = record
        if not retry_failed or all(record["status"] != "failed" for record in done.values()):
            return done
        done = {k: record for k, record in done.items() if record["status"] != "failed"}
        self.rewrite(list(done.values()))
        return done

    def _repair(self) -> int:
        """Cut off a torn last line; returns its length in bytes."""
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._fd, whole)
            os.fsync(self._fd)
        return len(content) - whole

    def rewrite(self, kept: list[dict[str, Any]]) -> None:
        """Make `kept` the whole content; a kill leaves the old file or the new one, never a
        part."""
        fresh = self.path.with_suffix(".tmp")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write(fd, b"".join(orjson.dumps(record) + b"\n" for record in kept))
        os.fsync(fd)
        os.replace(fresh, self.path)
        os.close(self._fd)
        self._fd = fd

    def append(self, record: dict[str, Any]) -> None:
        assert key(record) not in self.done, key(record)
        _write(self._fd, orjson.dumps(record) + b"\n")
        self.done[key(record)] = record
        if time.monotonic() - self._synced > SYNC_EVERY:
            os.fsync(self._fd)
            self._synced = time.monotonic()

    def count(self) -> Counter[str]:
        """Records by status."""
        return Counter(record["status"] for record in self.done.values())

    def close(self) -> None:
        os.fsync(self._fd)
        os.close(self._fd)


def _write(fd: int, data: bytes) -> None:
    while data:  # a short write (disk nearly full) goes on where it stopped
        data = data[os.write(fd, data) :]
