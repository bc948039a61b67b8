"""The step columns of a trace: one row a thinking step.

Shapes: n steps, k size of a concept, H hidden size.
"""

from typing import NamedTuple

import numpy as np

OFFSET_DTYPES = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes of an element."""

_GROWTH = 32
"""A full column grows by 1/32: little stands empty, and a step is copied 32 times in all."""


class StepsDelta(NamedTuple):
    """A slice of steps as bytes: what crosses from the scheduler to the front end."""

    start: int | None
    """Position of the first thinking step of the trace."""
    step: int
    """Index of the first step of the slice."""
    steps: int
    """Their number."""
    k: int
    ids: bytes
    weights: bytes
    entropy: bytes
    offsets: bytes
    offset_dtype: str


class Steps:
    """Columns of thinking steps; append-only."""

    def __init__(self, k: int, *, offset_bytes: int = 0, offset_dtype: str = "float32") -> None:
        """k: largest size of a concept. offset_bytes: size of one embedding offset; 0: none is fed.
        offset_dtype: float32, float16 or bfloat16."""
        self.k = k
        self.offset_bytes, self.offset_dtype = offset_bytes, offset_dtype
        self._len = 0
        self._ids: np.ndarray = np.zeros((0, k), np.int32)
        self._weights: np.ndarray = np.zeros((0, k), np.float32)
        self._entropy: np.ndarray = np.zeros(0, np.float32)
        self._offsets: np.ndarray = np.zeros((0, offset_bytes), np.uint8)

    def __len__(self) -> int:
        return self._len

    @property
    def ids(self) -> np.ndarray:
        """[n, k] int32; slots of weight 0 mean nothing."""
        return self._ids[: self._len]

    @property
    def weights(self) -> np.ndarray:
        """[n, k] float32, the bits that were mixed; used slots come first."""
        return self._weights[: self._len]

    @property
    def entropy(self) -> np.ndarray:
        """[n] float32, nats."""
        return self._entropy[: self._len]

    @property
    def offsets(self) -> np.ndarray:
        """[n, offset_bytes] uint8: embedding offsets, in the model's dtype."""
        return self._offsets[: self._len]

    @property
    def nbytes(self) -> int:
        """Bytes that the columns occupy, room to grow included."""
        columns = (self._ids, self._weights, self._entropy, self._offsets)
        return sum(column.nbytes for column in columns)

    def append(
        self, ids: np.ndarray, weights: np.ndarray, entropy: float, offset: bytes = b""
    ) -> None:
        """Add one step. ids: [<= k] int32; weights: [<= k] float32, used slots first."""
        if self._len == len(self._entropy):
            self._grow(self._len + 1)
        at, size = self._len, len(weights)
        self._ids[at, :size] = ids
        self._weights[at, :size] = weights
        self._entropy[at] = entropy
        if offset:
            self._offsets[at] = np.frombuffer(offset, np.uint8)
        self._len += 1

    def extend(
        self, ids: np.ndarray, weights: np.ndarray, entropy: np.ndarray, offsets: np.ndarray
    ) -> None:
        """Add steps: columns as the properties return them, of any k up to this one's."""
        start, stop = self._len, self._len + len(entropy)
        if stop > len(self._entropy):
            self._grow(stop)
        self._ids[start:stop, : ids.shape[1]] = ids
        self._weights[start:stop, : weights.shape[1]] = weights
        self._entropy[start:stop] = entropy
        self._offsets[start:stop] = offsets
        self._len = stop

    def use_offsets(self, nbytes: int, dtype: str) -> None:
        """From here on steps may have embedding offsets of `nbytes` bytes. Before the first step,
        or again with the same size."""
        if self.offset_bytes != nbytes:
            assert not self._len and not self.offset_bytes, "offsets come before the first step"
            self.offset_bytes, self.offset_dtype = nbytes, dtype
            self._offsets = np.zeros((len(self._entropy), nbytes), np.uint8)

    def _grow(self, needed: int) -> None:
        rows = max(needed, len(self._entropy) + max(16, len(self._entropy) // _GROWTH))
        for name in ("_ids", "_weights", "_entropy", "_offsets"):
            old = getattr(self, name)
            new = np.zeros((rows, *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    def delta(self, step: int, start: int | None) -> StepsDelta:
        """The steps from `step` on. start: position of the first thinking step."""
        return StepsDelta(
            start, step, len(self) - step, self.k, self.ids[step:].tobytes(),
            self.weights[step:].tobytes(), self.entropy[step:].tobytes(),
            self.offsets[step:].tobytes(), self.offset_dtype,
        )  # fmt: skip


def decode_offset(raw: np.ndarray, dtype: str) -> np.ndarray:
    """An embedding offset, [bytes] uint8 in `dtype`, as [H] float32."""
    if dtype == "bfloat16":  # the upper half of a float32
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return raw.view(dtype).astype(np.float32)
