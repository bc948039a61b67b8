"""Host-side record of the concept tokens of one request: what retraction replays and what a client's trace shows.

One thinking step is one record: n (1 byte), entropy (float32), n ids (24 bits each), n weights (float32), for the n
entries that carry weight: 5 + 7 n bytes, at most 75 at K = 10. The weights are the very bits that the device mixed.
Vectors, which few methods feed, are kept beside the records (`SoftRequest.vectors`).
"""

from bisect import bisect_right
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

_CHUNK = 4096  # records are packed into blocks, so that neither growth nor per-object overhead doubles their size
_KEY_BIT = 1 << 62
_ONE = np.float32(1).tobytes()


class Concept(NamedTuple):
    """One concept token, unpacked."""

    ids: np.ndarray
    """[n] int32"""
    weights: np.ndarray
    """[n] float32, sums to 1"""
    entropy: np.float32
    """nats, over the whole vocabulary"""


def pack(ids: bytes, weights: bytes, entropy: bytes) -> bytes:
    """Record of one concept token from little-endian int24 ids [n], float32 weights [n] and a float32 entropy."""
    return bytes((len(weights) >> 2,)) + entropy + ids + weights


def unpack(record: bytes) -> Concept:
    n = record[0]
    ids: np.ndarray = np.zeros((n, 4), np.uint8)
    ids[:, :3] = np.frombuffer(record, np.uint8, 3 * n, 5).reshape(n, 3)
    return Concept(
        ids=ids.view("<i4")[:, 0],
        weights=np.frombuffer(record, "<f4", n, 5 + 3 * n),
        entropy=np.frombuffer(record, "<f4", 1, 1)[0],
    )


def concept_key(record: bytes, vector: bytes = b"") -> int:
    """64-bit name of a concept token's KV: a hash of ids, weights and vector, above every token id, below 2**63.

    It depends on content alone, so that tensor-parallel ranks agree and equal concept tokens share their KV. One token
    of weight 1 and no vector is that token: its KV has the token's own name, as SGLang itself would call it.
    """
    if not vector and record[0] == 1 and record[8:12] == _ONE:
        return int.from_bytes(record[5:8], "little")
    return _key(record[5:] + vector)


def private_key(rid: str, index: int) -> int:
    """Name of a position whose concept token the host does not know yet: equal on all ranks, matched by nothing."""
    return _key(b"private" + rid.encode() + index.to_bytes(8, "little"))


def _key(content: bytes) -> int:
    digest = blake2b(content, digest_size=8).digest()
    return int.from_bytes(digest, "little") & (_KEY_BIT - 1) | _KEY_BIT


class ConceptLog:
    """Append-only list of records."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []  # full blocks
        self._firsts: list[int] = []  # index of the first record of each full block
        self._tail = bytearray()
        self._tail_first = 0
        self._len = 0

    def __len__(self) -> int:
        return self._len

    @property
    def nbytes(self) -> int:
        """Bytes that the records occupy, allocation slack included."""
        return sum(len(b) for b in self._blocks) + self._tail.__alloc__()

    def append(self, record: bytes) -> None:
        self._tail += record
        self._len += 1
        if len(self._tail) >= _CHUNK:
            self._blocks.append(bytes(self._tail))
            self._firsts.append(self._tail_first)
            self._tail.clear()
            self._tail_first = self._len

    def records(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Records [start, stop), in order."""
        stop = self._len if stop is None else min(stop, self._len)
        at = bisect_right(self._firsts, start) - 1
        blocks = [*zip(self._firsts, self._blocks), (self._tail_first, self._tail)][max(at, 0) :]
        for index, block in blocks:
            if index >= stop:
                return
            offset = 0
            while offset < len(block) and index < stop:
                size = 5 + 7 * block[offset]
                if index >= start:
                    yield bytes(block[offset : offset + size])
                offset += size
                index += 1
