"""Edits of a trace: what `Trace.edit` does."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sglang_soft.trace import check, cutting
from sglang_soft.trace.codec import MAX_K
from sglang_soft.trace.joining import joined
from sglang_soft.trace.steps import Steps

if TYPE_CHECKING:
    from sglang_soft.trace.trace import Trace

_TOLERANCE = 1e-3
"""Of a sum of weights. Also the least sum, relative to the sum of their sizes, that is scaled to 1:
weights of both signs may cancel out."""
_TINY = 1e-30
"""A lower temperature is this one: all but the largest weights are 0 then."""

Weighted = tuple[np.ndarray, np.ndarray]
"""ids [c] int32, weights [c] float32"""


class Editor:
    """Edits of one trace. A trace is a value: each edit gives a new one, whose `segments` mark the
    edited steps.

    Steps after an edited one were computed with what it was. So they are dropped and the thought is
    open, unless `keep_rest` is true.

    An edited step emits the token that it did, or where that has no weight left, the one of the
    largest weight. Its entropy and the method's state after it are what the logits gave.

    All raise ValueError: no such step; a value out of range; think-end among the output tokens of
    the thought.
    """

    def __init__(self, trace: "Trace") -> None:
        self._trace = trace

    def cut(self, steps: int) -> "Trace":
        """See `Trace.cut`."""
        return self._trace.cut(steps)

    def remove(self, step: int, token: int, *, keep_rest: bool = False) -> "Trace":
        """Without one candidate; the other weights are scaled to sum to 1."""

        def without(ids: np.ndarray, weights: np.ndarray) -> Weighted:
            kept = ids != token
            if kept.all():
                raise ValueError(
                    f"edit.remove: token must be a candidate of step {step}, one of "
                    f"{ids.tolist()}; got {token!r}."
                )
            total = weights[kept].sum(dtype=np.float64)
            if not total > _TOLERANCE * np.abs(weights[kept]).sum():
                raise ValueError(
                    f"edit.remove: step {step} must have other candidates, of a sum of weights "
                    f"above 0; it is {total:g}."
                )
            return ids[kept], (weights[kept] / total).astype(np.float32)

        return self._changed("remove", step, without, keep_rest)

    def sharpen(self, step: int, temperature: float, *, keep_rest: bool = False) -> "Trace":
        """Weights w become w^(1/temperature), scaled to sum to 1. 0: the largest alone; above 1
        they become more alike."""
        if not isinstance(temperature, int | float) or not 0 <= temperature < np.inf:
            raise ValueError(
                f"edit.sharpen: temperature must be a finite number >= 0; got {temperature!r}."
            )

        def sharp(ids: np.ndarray, weights: np.ndarray) -> Weighted:
            if not len(weights) or (weights < 0).any():
                raise ValueError(
                    f"edit.sharpen: step {step} must have weights, none below 0; got "
                    f"{weights.tolist()}."
                )
            if temperature == 0:
                best = int(np.argmax(weights))
                return ids[best : best + 1], np.ones(1, np.float32)
            logs = np.log(weights.astype(np.float64))
            powers = np.exp((logs - logs.max()) / max(temperature, _TINY))
            return ids, (powers / powers.sum()).astype(np.float32)

        return self._changed("sharpen", step, sharp, keep_rest)

    def replace(
        self, step: int, ids: Sequence[int], weights: Sequence[float] = (1.0,), *,
        token: int | None = None, keep_rest: bool = False,
    ) -> "Trace":  # fmt: skip
        """Another concept token in place of a step's, its embedding offset included.

        ids, weights: [c], c <= 64; weights sum to 1. token: what it emits; default: the one of the
        largest weight.
        """
        concept = self._concept("replace", ids, weights, token)
        emitted = int(concept[0][0]) if token is None else int(token)
        return self._changed("replace", step, lambda *_: concept, keep_rest, emitted)

    def insert(
        self, step: int, ids: Sequence[int], weights: Sequence[float] = (1.0,), *,
        token: int | None = None,
    ) -> "Trace":  # fmt: skip
        """The first `step` steps of the thought, then this concept token (as for `replace`). Its
        entropy is that of its weights."""
        self._place("insert", step, self._thinking_tokens("insert"))
        chosen, shares = self._concept("insert", ids, weights, token)
        used = shares[shares > 0].astype(np.float64)
        entropy = np.array([max(0.0, -float(used @ np.log(used)))], np.float32)
        piece = self._piece(step, chosen[None], shares[None], entropy)
        emitted = int(chosen[0]) if token is None else int(token)
        return joined(self._trace, step, piece, np.array([emitted], np.int32))

    def splice(self, step: int, other: "Trace", first: int, stop: int) -> "Trace":
        """The first `step` steps of the thought, then the steps [first, stop) of another thought of
        the same model."""
        trace, count = self._trace, other.thinking_tokens
        self._place("splice", step, self._thinking_tokens("splice"))
        whole = type(first) is int and type(stop) is int
        if other.start is None or not whole or not 0 <= first < stop <= count:
            raise ValueError(
                f"edit.splice: first and stop must be steps, 0 <= first < stop <= {count}, the "
                f"other trace's thinking tokens; got {first!r} and {stop!r}."
            )
        ours, theirs = trace.steps, other.steps
        kinds = [(s.offset_dtype, s.offset_bytes) for s in (ours, theirs) if s.offset_bytes]
        if len(set(kinds)) > 1:
            raise ValueError(f"edit.splice: embedding offsets must be alike; got {kinds}.")
        try:
            check.check_model(other, trace.model)
        except ValueError as error:
            raise ValueError(f"edit.splice: the other trace: {error}") from None
        rows = slice(first, stop)
        piece = self._piece(
            step, theirs.ids_of(rows), theirs.weights_of(rows), theirs.entropy[rows],
            theirs.offsets[rows], theirs.offset_dtype,
        )  # fmt: skip
        begin = other.start - len(other.prompt_ids)
        return joined(trace, step, piece, other.output_ids[begin + first : begin + stop])

    def _changed(
        self, edit: str, step: int, change: Callable[[np.ndarray, np.ndarray], Weighted],
        keep_rest: bool, emits: int | None = None,
    ) -> "Trace":  # fmt: skip
        """One step with other ids and weights. emits: what it emits; nothing of the step is left
        then. None: the step is still the same."""
        trace = self._trace
        self._place(edit, step, self._thinking_tokens(edit) - 1)
        if keep_rest and cutting.tail(trace, step + 1)[0]:
            raise ValueError(
                f"edit.{edit}: step {step} is a part of a forced end, which keep_rest cannot keep."
            )
        assert trace.start is not None
        old, rows = trace.concept(step), slice(step, step + 1)
        ids, weights = change(old.ids, old.weights)
        ids, weights = ids[weights != 0], weights[weights != 0]
        offsets = trace.steps.offsets[rows]
        if emits is None:
            emits = int(trace.output_ids[trace.start - len(trace.prompt_ids) + step])
            if emits not in ids:
                emits = int(ids[np.argmax(weights)])
        else:
            offsets = np.zeros_like(offsets)
        piece = self._piece(
            step + 1, ids[None], weights[None], trace.entropy[rows], offsets,
            trace.steps.offset_dtype,
        )  # fmt: skip
        return joined(trace, step, piece, np.array([emits], np.int32), step + 1, keep_rest)

    def _piece(
        self, known: int, ids: np.ndarray, weights: np.ndarray, entropy: np.ndarray,
        offsets: np.ndarray | None = None, offset_dtype: str = "float32",
    ) -> Steps:  # fmt: skip
        """Steps with the method's state after the first `known` steps of the thought."""
        state = cutting.method_state(self._trace, known)
        if offsets is None:
            offsets = np.zeros((len(entropy), 0), np.uint8)
        piece = Steps(
            ids.shape[1], offset_bytes=offsets.shape[1], offset_dtype=offset_dtype,
            extra={"states": len(state)},
        )  # fmt: skip
        extra = {"states": np.tile(state, (len(entropy), 1))} if len(state) else {}
        piece.extend(ids, weights, entropy, offsets, extra)
        return piece

    def _thinking_tokens(self, edit: str) -> int:
        if self._trace.start is None:
            raise ValueError(f"edit.{edit}: the trace has no thought.")
        return self._trace.thinking_tokens

    def _place(self, edit: str, step: int, most: int) -> None:
        if type(step) is not int or not 0 <= step <= most:
            raise ValueError(
                f"edit.{edit}: step must be a whole number in [0, {most}], of "
                f"{self._trace.thinking_tokens} thinking tokens; got {step!r}."
            )

    def _concept(
        self, edit: str, ids: Sequence[int], weights: Sequence[float], token: int | None
    ) -> Weighted:
        """A caller's concept token, largest weight first."""
        size = self._trace.model.get("vocab_size", 2**31)
        for name, values in (("ids", list(ids)), ("token", [] if token is None else [token])):
            for value in values:
                if not isinstance(value, int | np.integer) or not 0 <= value < size:
                    raise ValueError(
                        f"edit.{edit}: {name} must be in [0, {size - 1}], the model's vocabulary; "
                        f"got {value!r}."
                    )
        chosen, shares = np.asarray(ids, np.int32), np.asarray(weights, np.float32)
        if chosen.shape != shares.shape or not 1 <= chosen.size <= MAX_K:
            raise ValueError(
                f"edit.{edit}: ids and weights must have one length, in [1, {MAX_K}]; got "
                f"{chosen.size} and {shares.size}."
            )
        if len(set(chosen.tolist())) < chosen.size:
            raise ValueError(f"edit.{edit}: ids must differ; got {chosen.tolist()}.")
        total = float(shares.sum(dtype=np.float64))
        if not abs(total - 1) <= _TOLERANCE:  # nor is it so if one is not a number
            raise ValueError(f"edit.{edit}: weights must sum to 1; they sum to {total:.6g}.")
        order = np.argsort(-shares, kind="stable")
        order = order[shares[order] != 0]
        return chosen[order], shares[order]
