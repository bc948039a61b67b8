"""The step columns of a trace: one row a thinking step.

Shapes: n steps, k size of a concept, H hidden size.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

OFFSET_DTYPES = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes of an element."""

_GROWTH = 32
"""A full column grows by 1/32: little stands empty, and a step is copied 32 times in all."""


_COLUMNS = ("_ids", "_high_ids", "_weights", "_entropy", "_offsets")

EXTRA: Mapping[str, type] = {"states": np.float32, "logprobs": np.float32, "drawn": np.int32}
"""Columns that only some traces have, [n, width] each: the method's state after the step; its
log-probability; the tokens that were drawn. A step that has none has NaN, or -1, in it."""
_NONE: Mapping[type, float] = {np.float32: np.nan, np.int32: -1}

Rows = Mapping[str, np.ndarray]
"""Values of extra columns by name."""


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
    extra: dict[str, bytes] = {}
    """Columns of EXTRA."""

    def rows(self) -> dict[str, np.ndarray]:
        """`extra` as [steps, width] each; nothing where there is no step."""
        if not self.steps:
            return {}
        return {
            name: np.frombuffer(data, EXTRA[name]).reshape(self.steps, -1)
            for name, data in self.extra.items()
        }


class Steps:
    """Columns of thinking steps; append-only.

    With `weight_bits` b, weights are multiples of 2^-b: a slot takes 5 bytes (3 of the id, 2 of the
    weight) in place of 8.
    """

    def __init__(
        self, k: int, *, weight_bits: int = 0, offset_bytes: int = 0,
        offset_dtype: str = "float32", extra: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        """k: largest size of a concept. weight_bits: 0 to 16; 0: weights are any float32.
        offset_bytes: size of one embedding offset; 0: none is fed. offset_dtype: float32, float16
        or bfloat16. extra: width of each column of EXTRA that there is."""
        self.k, self.weight_bits = k, weight_bits
        self.offset_bytes, self.offset_dtype = offset_bytes, offset_dtype
        self._len = 0
        ids, weights = (np.uint16, np.uint16) if weight_bits else (np.int32, np.float32)
        self._ids: np.ndarray = np.zeros((0, k), ids)
        self._high_ids: np.ndarray = np.zeros((0, k if weight_bits else 0), np.uint8)
        """With weight_bits the upper 8 of an id's 24 bits."""
        self._weights: np.ndarray = np.zeros((0, k), weights)
        """With weight_bits in units of 2^-b: uint16, in which 2^16 is 0; int32 once a step does not
        fit (`_fit`)."""
        self._entropy: np.ndarray = np.zeros(0, np.float32)
        self._offsets: np.ndarray = np.zeros((0, offset_bytes), np.uint8)
        self._extra: dict[str, np.ndarray] = {
            name: np.zeros((0, width), EXTRA[name])
            for name, width in (extra or {}).items()
            if width
        }

    @classmethod
    def of(cls, delta: StepsDelta, k: int, weight_bits: int = 0) -> "Steps":
        """The steps of a slice, k slots each."""
        n = delta.steps
        offsets = np.frombuffer(delta.offsets, np.uint8).reshape(n, len(delta.offsets) // max(n, 1))
        extra = delta.rows()
        made = cls(
            k, weight_bits=weight_bits,
            offset_bytes=offsets.shape[1], offset_dtype=delta.offset_dtype,
            extra={name: rows.shape[1] for name, rows in extra.items()},
        )  # fmt: skip
        made.extend(
            np.frombuffer(delta.ids, np.int32).reshape(n, delta.k),
            np.frombuffer(delta.weights, np.float32).reshape(n, delta.k),
            np.frombuffer(delta.entropy, np.float32), offsets, extra,
        )  # fmt: skip
        return made

    def copy(
        self, steps: slice = slice(None), *, k: int | None = None, weight_bits: int | None = None,
        extra: Mapping[str, int] | None = None,
    ) -> "Steps":  # fmt: skip
        """Some of the steps, in columns of their own. k, weight_bits: of the copy; by default those
        of this one. extra: widths of columns that the copy has at least."""
        widths = dict(extra or {})
        for name, rows in self._extra.items():
            widths[name] = max(rows.shape[1], widths.get(name, 0))
        made = Steps(
            self.k if k is None else k,
            weight_bits=self.weight_bits if weight_bits is None else weight_bits,
            offset_bytes=self.offset_bytes, offset_dtype=self.offset_dtype, extra=widths,
        )  # fmt: skip
        made.extend(
            self.ids_of(steps), self.weights_of(steps), self.entropy[steps], self.offsets[steps],
            {name: rows[steps] for name, rows in self.extra.items()},
        )  # fmt: skip
        return made

    def __len__(self) -> int:
        return self._len

    @property
    def ids(self) -> np.ndarray:
        """[n, k] int32; slots of weight 0 mean nothing."""
        return self.ids_of(slice(None))

    @property
    def weights(self) -> np.ndarray:
        """[n, k] float32, the bits that were mixed; used slots come first."""
        return self.weights_of(slice(None))

    def ids_of(self, steps: slice) -> np.ndarray:
        """`ids` of some steps: the others are not unpacked."""
        low = self._ids[: self._len][steps]
        if not self.weight_bits:
            return low
        return low | self._high_ids[: self._len][steps].astype(np.int32) << 16

    def weights_of(self, steps: slice) -> np.ndarray:
        """`weights` of some steps."""
        units = self._weights[: self._len][steps]
        if not self.weight_bits:
            return units
        weights = units.astype(np.float32) * np.float32(2.0**-self.weight_bits)
        if self.weight_bits == 16 and units.dtype == np.uint16:
            weights[~units.any(1), 0] = 1
        return weights

    @property
    def entropy(self) -> np.ndarray:
        """[n] float32, nats."""
        return self._entropy[: self._len]

    @property
    def offsets(self) -> np.ndarray:
        """[n, offset_bytes] uint8: embedding offsets, in the model's dtype."""
        return self._offsets[: self._len]

    @property
    def extra(self) -> dict[str, np.ndarray]:
        """[n, width] each: the columns of EXTRA that there are."""
        return {name: rows[: self._len] for name, rows in self._extra.items()}

    @property
    def nbytes(self) -> int:
        """Bytes that the columns occupy, room to grow included."""
        columns = [getattr(self, name) for name in _COLUMNS]
        return sum(column.nbytes for column in (*columns, *self._extra.values()))

    def append(
        self, ids: np.ndarray, weights: np.ndarray, entropy: float, offset: bytes = b"",
        extra: Rows | None = None,
    ) -> None:  # fmt: skip
        """Add one step. ids: [<= k] int32; weights: [<= k] float32, used slots first; extra:
        [<= width] each."""
        if self._len == len(self._entropy):
            self._grow(self._len + 1)
        at = self._len
        self._put(slice(at, at + 1), ids[None], weights[None])
        self._entropy[at] = entropy
        if offset:
            self._offsets[at] = np.frombuffer(offset, np.uint8)
        for name, values in (extra or {}).items():
            self._extra[name][at, : len(values)] = values
        self._len += 1

    def extend(
        self, ids: np.ndarray, weights: np.ndarray, entropy: np.ndarray, offsets: np.ndarray,
        extra: Rows | None = None,
    ) -> None:  # fmt: skip
        """Add steps: columns as the properties return them, of any k up to this one's.

        Raises ValueError: a weight is no multiple of 2^-b, or an id has more bits than are kept;
            names its step.
        """
        start, stop = self._len, self._len + len(entropy)
        if self.weight_bits and len(bad := np.argwhere(ids >> 24)):
            step, slot = bad[0].tolist()
            raise ValueError(
                f"ids[{start + step}][{slot}] must be in [0, 2^24) with weight_bits; got "
                f"{ids[step, slot]}."
            )
        if stop > len(self._entropy):
            self._grow(stop)
        self._put(slice(start, stop), ids, weights)
        self._entropy[start:stop] = entropy
        self._offsets[start:stop] = offsets if offsets.shape[1] else 0
        for name, rows in (extra or {}).items():
            self._extra[name][start:stop, : rows.shape[1]] = rows
        self._len = stop

    def add(self, more: "Steps") -> None:
        """Add the steps of other columns, of k up to this one's. Their offsets, if there are any in
        both, have the same dtype and size."""
        if more.offset_bytes:
            self.use_offsets(more.offset_bytes, more.offset_dtype)
        for name, rows in more.extra.items():
            self.use_extra(name, rows.shape[1])
        self.extend(more.ids, more.weights, more.entropy, more.offsets, more.extra)

    def _put(self, steps: slice, ids: np.ndarray, weights: np.ndarray) -> None:
        size = weights.shape[1]
        if self.weight_bits:
            self._high_ids[steps, :size] = ids >> 16
            weights = self._fit(weights)
        self._ids[steps, :size] = ids
        self._weights[steps, :size] = weights

    def _fit(self, weights: np.ndarray) -> np.ndarray:
        """In units. Some methods push away from a token or feed an offset alone: weights below 0,
        above 1 or all 0 need the wider column."""
        scaled = weights * np.float32(2**self.weight_bits)
        units = scaled.astype(np.int32)
        if len(bad := np.flatnonzero((units != scaled).any(1))):
            step = self._len + int(bad[0])
            raise ValueError(f"weights[{step}] must be multiples of 1/{2**self.weight_bits}.")
        if self._weights.dtype == np.uint16:
            most = 2**16 - (self.weight_bits < 16)
            if ((units < 0) | (units > most)).any() or not units.any(1).all():
                wide = self.weights * np.float32(2**self.weight_bits)
                self._weights = np.zeros(self._weights.shape, np.int32)
                self._weights[: self._len] = wide
        return units

    def use_offsets(self, nbytes: int, dtype: str) -> None:
        """From here on steps may have embedding offsets of `nbytes` bytes; those before have 0."""
        if self.offset_bytes != nbytes:
            assert not self.offset_bytes, "offsets of two sizes"
            self.offset_bytes, self.offset_dtype = nbytes, dtype
            self._offsets = np.zeros((len(self._entropy), nbytes), np.uint8)

    def _grow(self, needed: int) -> None:
        rows = max(needed, len(self._entropy) + max(16, len(self._entropy) // _GROWTH))
        for name in _COLUMNS:
            old = getattr(self, name)
            new = np.zeros((rows, *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)
        for name, old in self._extra.items():
            self._extra[name] = _empty(name, rows, old.shape[1])
            self._extra[name][: len(old)] = old

    def use_extra(self, name: str, width: int) -> None:
        """From here on steps may have this column of EXTRA; those before have none."""
        old = self._extra.get(name)
        if width > (0 if old is None else old.shape[1]):
            self._extra[name] = _empty(name, len(self._entropy), width)
            if old is not None:
                self._extra[name][:, : old.shape[1]] = old

    def delta(self, step: int, start: int | None) -> StepsDelta:
        """The steps from `step` on. start: position of the first thinking step."""
        steps = slice(step, None)
        return StepsDelta(
            start, step, len(self) - step, self.k, self.ids_of(steps).tobytes(),
            self.weights_of(steps).tobytes(), self.entropy[step:].tobytes(),
            self.offsets[step:].tobytes(), self.offset_dtype,
            {name: rows[step:].tobytes() for name, rows in self.extra.items()},
        )  # fmt: skip


def _empty(name: str, rows: int, width: int) -> np.ndarray:
    """A column of EXTRA in which no step has a value."""
    return np.full((rows, width), _NONE[EXTRA[name]], EXTRA[name])


def decode_offset(raw: np.ndarray, dtype: str) -> np.ndarray:
    """Embedding offsets, [..., bytes] uint8 in `dtype`, as [..., H] float32."""
    if dtype == "bfloat16":  # the upper half of a float32
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return raw.view(dtype).astype(np.float32)
