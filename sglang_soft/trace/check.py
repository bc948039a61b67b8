"""Is a trace sound? Errors name the field, the value and what is allowed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from sglang_soft_kernels.sequences import MAX_CLOSING, MAX_DELIMITER

from sglang_soft.trace.reasons import FINISH_REASONS, THINK_END_REASONS

if TYPE_CHECKING:
    from sglang_soft.trace.trace import Trace

_SUM_TOLERANCE = 1e-3


def validate(trace: "Trace") -> None:
    """See `Trace.validate`."""
    prompt, outputs, count = len(trace.prompt_ids), len(trace.output_ids), len(trace.steps)
    reason = trace.thinking_finish_reason
    if reason is not None and reason not in FINISH_REASONS:
        raise ValueError(
            f"thinking_finish_reason must be null or one of {', '.join(FINISH_REASONS)}; "
            f"got {reason!r}."
        )
    if not 0 <= trace.delimiter_match < MAX_DELIMITER:
        raise ValueError(
            f"delimiter_match must be in [0, {MAX_DELIMITER - 1}]; got {trace.delimiter_match}."
        )
    most = MAX_CLOSING + MAX_DELIMITER - 1
    if not 0 <= trace.tail_step <= most:
        raise ValueError(f"tail_step must be in [0, {most}]; got {trace.tail_step}.")
    reasons = tuple(THINK_END_REASONS.values())
    if trace.tail_reason not in (reasons if trace.tail_step else (None,)):
        raise ValueError(
            f"tail_reason must be one of {', '.join(reasons)}, or null where tail_step is 0; got "
            f"{trace.tail_reason!r} (tail_step {trace.tail_step})."
        )
    for name in ("prompt_ids", "output_ids"):
        _check_ids(trace, name, getattr(trace, name))
    if trace.start is None:
        if count or reason is not None:
            raise ValueError(f"start is null, but there are {count} steps (reason {reason!r}).")
    elif not prompt <= trace.start <= prompt + outputs - count:
        raise ValueError(
            f"start must be a position in [{prompt}, {prompt + outputs - count}] ({prompt} "
            f"prompt tokens, {outputs} output tokens, {count} steps); got {trace.start}."
        )
    if trace.ended_by_think_end and not count:
        raise ValueError(f"thinking_finish_reason is {reason!r}, but there is no step.")
    _check_ids(trace, "ids", trace.ids)
    _check_weights(trace)
    bad = np.flatnonzero(~np.isfinite(trace.entropy) | (trace.entropy < 0))
    if len(bad):
        step = int(bad[0])
        raise ValueError(f"entropy[{step}] must be finite and >= 0; got {trace.entropy[step]}.")
    if not np.isfinite(trace.method_state).all():
        raise ValueError(f"method_state must be finite; got {trace.method_state.tolist()}.")
    if not np.isfinite(trace.end_weights).all():
        raise ValueError(f"end_weights must be finite; got {trace.end_weights.tolist()}.")


def check_model(trace: "Trace", facts: Mapping[str, Any]) -> None:
    """Raises ValueError: the trace is of another model. facts: this one's fingerprint, or a part of
    it."""
    for name in ("vocab_size", "hidden_size", "layers"):
        theirs, ours = trace.model.get(name), facts.get(name)
        if theirs is not None and ours is not None and theirs != ours:
            raise ValueError(
                f"the trace is of another model: its {name} is {theirs}, this one's is {ours}."
            )
    theirs, ours = trace.model.get("embedding_rms"), facts.get("embedding_rms")
    if theirs is not None and ours is not None and abs(theirs - ours) > 1e-3 * ours:
        raise ValueError(
            f"the trace is of a model with other weights: its embedding_rms is {theirs:.6g}, this "
            f"one's is {ours:.6g}."
        )
    for name in ("prompt_ids", "output_ids", "ids"):
        _check_ids(trace, name, getattr(trace, name), facts.get("vocab_size"))


def _check_ids(trace: "Trace", name: str, ids: np.ndarray, size: int | None = None) -> None:
    size = trace.model.get("vocab_size") if size is None else size
    bad = np.argwhere((ids < 0) | (ids >= size if size is not None else False))
    if len(bad):
        at = tuple(int(i) for i in bad[0])
        where = "".join(f"[{i}]" for i in at)
        allowed = ">= 0" if size is None else f"in [0, {size - 1}], the model's vocabulary"
        raise ValueError(f"{name}{where} must be {allowed}; got {int(ids[at])}.")


def _check_weights(trace: "Trace") -> None:
    weights, k = trace.weights, trace.steps.k
    most = trace.params.get("max_topk", k)
    if type(most) is not int:
        raise ValueError(f"params.max_topk must be a whole number; got {most!r}.")
    if k > (limit := most + 1):
        raise ValueError(f"ids has {k} slots; max_topk allows at most {limit}.")
    bad = np.argwhere(~np.isfinite(weights))
    if len(bad):
        step, slot = (int(i) for i in bad[0])
        raise ValueError(f"weights[{step}][{slot}] must be finite; got {weights[step, slot]}.")
    used = weights != 0
    gaps = np.flatnonzero((used[:, 1:] & ~used[:, :-1]).any(1))
    if len(gaps):
        raise ValueError(f"weights[{int(gaps[0])}]: used slots must come first.")
    sums = weights.sum(1, dtype=np.float64)
    empty = ~used.any(1) if trace.steps.offset_bytes else np.zeros(len(sums), bool)
    bad = np.flatnonzero((np.abs(sums - 1) > _SUM_TOLERANCE) & ~empty)
    if len(bad):
        step = int(bad[0])
        raise ValueError(f"weights[{step}] must sum to 1; they sum to {sums[step]:.6g}.")
