"""Host-side record of the concept tokens of one request: what retraction replays and what a
client's trace shows.

One thinking step is one record: n (1 byte), entropy (float32), then for each of the n entries that
carry weight its id (24 bits) and its weight (float32): 5 + 7 n bytes, at most 75 at K = 10. The
weights are the very bits that the device mixed. Vectors, which few methods feed, are kept beside
the records (`SoftRequest.vectors`).
"""

from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

_CHUNK = 4096  # records are packed into blocks, so that neither growth nor per-object overhead doubles their size
_KEY_BIT = 1 << 62
_ONE = np.float32(1).tobytes()
_ENTRY: np.dtype = np.dtype([("id", "u1", 3), ("weight", "<f4")])


@cache
def _steps(K: int) -> np.dtype:
    """Records of one length."""
    return np.dtype([("n", "u1"), ("entropy", "<f4"), ("entries", _ENTRY, (K,))])


class Concept(NamedTuple):
    """One concept token, unpacked."""

    ids: np.ndarray
    """[n] int32"""
    weights: np.ndarray
    """[n] float32, sums to 1"""
    entropy: np.float32
    """nats, over the whole vocabulary"""


def pack(ids: np.ndarray, weights: np.ndarray, entropy: np.ndarray) -> list[bytes]:
    """Records of B steps: ids [B, K] int32, weights [B, K] float32, those in use first, entropy [B]
    float32."""
    B, K = ids.shape
    steps: np.ndarray = np.empty(B, _steps(K))
    used = np.count_nonzero(weights, axis=1)
    steps["n"], steps["entropy"] = used, entropy
    entries = steps["entries"]
    entries["id"] = (
        np.ascontiguousarray(ids).view(np.uint8).reshape(B, K, 4)[:, :, :3]
    )  # little-endian
    entries["weight"] = weights
    packed, size = steps.tobytes(), steps.itemsize
    return [packed[at : at + 5 + 7 * n] for at, n in zip(range(0, B * size, size), used.tolist())]


def unpack(record: bytes) -> Concept:
    n = record[0]
    entries = np.frombuffer(record, _ENTRY, n, 5)
    ids: np.ndarray = np.zeros((n, 4), np.uint8)
    ids[:, :3] = entries["id"]
    return Concept(
        ids=ids.view("<i4")[:, 0],
        weights=np.ascontiguousarray(entries["weight"]),
        entropy=np.frombuffer(record, "<f4", 1, 1)[0],
    )


def concept_key(record: bytes, vector: bytes = b"") -> int:
    """64-bit name of a concept token's KV: a hash of ids, weights and vector, above every token id,
    below 2**63.

    It depends on content alone, so that tensor-parallel ranks agree and equal concept tokens share
    their KV. One token of weight 1 and no vector is that token: its KV has the token's own name, as
    SGLang itself would call it.
    """
    if not vector and record[0] == 1 and record[8:12] == _ONE:
        return int.from_bytes(record[5:8], "little")
    return _key(record[5:] + vector)


def private_key(rid: str, index: int) -> int:
    """Name of a position whose concept token the host does not know yet: equal on all ranks,
    matched by nothing."""
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
