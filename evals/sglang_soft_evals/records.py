"""Writing `samples.jsonl`: one finished sample a line. A kill at any moment loses no record and
repeats none.

A record is one `write` of one line. A kill can tear only the last line; it then has no newline and
is cut off when the file is opened again. A lock on the file keeps a second run out.
"""

import fcntl
import os
import time
from collections import Counter
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import orjson

from sglang_soft_evals.record import Key, Record, parse
from sglang_soft_evals.rundir import read_lines, read_records, whole_size

SYNC_EVERY = 1.0
"""Seconds between two fsyncs: what a power failure can cost. A killed process costs nothing."""


class Records:
    """The records of one run; new ones are appended.

    Args:
        path: samples.jsonl; it is created if it is missing.
        retry_failed: forget failed records, so that they are asked again.

    Raises:
        ValueError: another run holds the file, a line is not a record, or a sample occurs twice.
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
            self.done = self._load()
            if retry_failed and self.count()["failed"]:
                self.rewrite(lambda row: None if row["status"] == "failed" else row)
        except BaseException:
            os.close(self._fd)
            raise

    def _repair(self) -> int:
        """Cut off a torn last line; returns its length in bytes."""
        size, whole = self.path.stat().st_size, whole_size(self.path)
        if whole < size:
            os.ftruncate(self._fd, whole)
            os.fsync(self._fd)
        return size - whole

    def _load(self) -> dict[Key, Record]:
        self._size = self.path.stat().st_size
        return {record.key: record for record in read_records(self.path)}

    def rewrite(self, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        """Put every line through `change`; None drops it. A kill leaves the old file or the new."""
        fresh = self.path.with_suffix(".tmp")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for _, line in read_lines(self.path):
            if (row := change(orjson.loads(line))) is not None:
                _write(fd, orjson.dumps(row) + b"\n")
        os.fsync(fd)
        os.replace(fresh, self.path)
        os.close(self._fd)
        self._fd = fd
        self.done = self._load()

    def drop(self, keys: Container[Key]) -> None:
        """Forget these records, so that they are asked again."""
        self.rewrite(lambda row: None if _key(row) in keys else row)

    def append(self, row: dict[str, Any]) -> Record:
        line = orjson.dumps(row) + b"\n"
        record = parse(line, self._size)
        assert record.key not in self.done, record.key
        _write(self._fd, line)
        self._size += len(line)
        self.done[record.key] = record
        if time.monotonic() - self._synced > SYNC_EVERY:
            os.fsync(self._fd)
            self._synced = time.monotonic()
        return record

    def count(self) -> Counter[str]:
        """Records by status."""
        return Counter(record.status for record in self.done.values())

    def close(self) -> None:
        os.fsync(self._fd)
        os.close(self._fd)


def _key(row: dict[str, Any]) -> Key:
    return Key(*(row[name] for name in Key._fields))


def _write(fd: int, data: bytes) -> None:
    while data:  # a short write (the disk is nearly full) continues where it stopped
        data = data[os.write(fd, data) :]
