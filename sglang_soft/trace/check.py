"""Is a trace sound? Errors name the field, the value and what is allowed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from sglang_soft_kernels.sequences import MAX_CLOSING, MAX_DELIMITER

from sglang_soft.trace.reasons import FINISH_REASONS, FORCED
from sglang_soft.trace.steps import OFFSET_DTYPES, Steps, decode_offset

if TYPE_CHECKING:
    from sglang_soft.trace.trace import Trace

TOKENIZER_PROBE = "Soft Thinking: 43 × 34 = 1462.\n\t<think>"
"""Text whose ids a trace has as the fingerprint of its tokenizer."""
_SUM_TOLERANCE = 1e-3
_SEED = (int, type(None))
_SMALLEST = float(np.finfo(np.float32).tiny)
"""GPUs may take what is nearer to 0 for 0, and a first weight of 0 for a plain token."""
_TEXT, _ENTRIES = 16384, 256
"""Largest text and list among parameters."""


def validate(trace: "Trace") -> None:
    """See `Trace.validate`."""
    for name, dtype in (("prompt_ids", np.int32), ("output_ids", np.int32),
                        ("method_state", np.float32)):  # fmt: skip
        array = getattr(trace, name)
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
            raise ValueError(f"{name} must be a flat array of {np.dtype(dtype).name}.")
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
    if trace.tail_reason not in (FORCED if trace.tail_step else (None,)):
        raise ValueError(
            f"tail_reason must be one of {', '.join(FORCED)}, or null where tail_step is 0; got "
            f"{trace.tail_reason!r} (tail_step {trace.tail_step})."
        )
    if trace.low_entropy_steps < 0:
        raise ValueError(f"low_entropy_steps must be >= 0; got {trace.low_entropy_steps}.")
    _check_params(trace)
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
    _check_prompt_steps(trace)
    _check_segments(trace)
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
    if theirs is not None and (isinstance(theirs, bool) or not isinstance(theirs, int | float)):
        raise ValueError(f"model.embedding_rms must be a number; got {theirs!r}.")
    if theirs is not None and ours is not None:
        check_weights_of(theirs, ours)
    for name in ("prompt_ids", "output_ids", "ids"):
        _check_ids(trace, name, getattr(trace, name), facts.get("vocab_size"))
    if trace.prompt_steps is not None:
        ids = trace.prompt_steps.ids
        _check_ids(trace, "prompt_concepts.ids", ids, facts.get("vocab_size"))


def check_weights_of(theirs: float, ours: float) -> None:
    """Raises ValueError: the trace was made with other weights. theirs, ours: `embedding_rms`."""
    if not abs(theirs - ours) <= 1e-3 * ours:
        raise ValueError(
            f"the trace is of a model with other weights: its embedding_rms is {theirs:.6g}, this "
            f"one's is {ours:.6g}."
        )


def _check_prompt_steps(trace: "Trace") -> None:
    steps, start = trace.prompt_steps, trace.prompt_start
    if steps is None and start is None:
        return
    most = len(trace.prompt_ids) - (0 if steps is None else len(steps))
    if steps is None or type(start) is not int or not 0 < start <= most:
        raise ValueError(
            f"prompt_concepts.start must be a position in [1, {most}]: its steps are tokens of the "
            f"prompt; got {start!r}."
        )
    _check_ids(trace, "prompt_concepts.ids", steps.ids)
    _check_columns(steps, "prompt_concepts.")


def _check_segments(trace: "Trace") -> None:
    last = -1
    for at, segment in enumerate(trace.segments):
        step = segment.get("step")
        if type(step) is not int or not last < step <= len(trace.steps):
            raise ValueError(
                f"segments[{at}].step must be a whole number in [{last + 1}, {len(trace.steps)}]; "
                f"got {step!r}."
            )
        method, params, seed = (segment.get(name) for name in ("method", "params", "seed"))
        made = isinstance(method, str) and isinstance(params, dict) and type(seed) in _SEED
        if not segment.get("edited") and not made:
            raise ValueError(
                f"segments[{at}] needs method (text), params (an object) and seed (a number or "
                "null), or edited."
            )
        last = step


def _check_params(trace: "Trace") -> None:
    """Those that say how a trace is read, and that all of them are plain values of some size: they
    go from trace to trace (`segments`)."""
    closing = trace.params.get("closing_ids") or []
    if not _are_ids(closing, MAX_CLOSING):
        raise ValueError(
            f"params.closing_ids must be at most {MAX_CLOSING} token ids; got "
            f"{repr(closing)[:100]}."
        )
    end = trace.tokenizer.get("think_end_id")
    if not (end is None or _are_ids([end], 1) or _are_ids(end, MAX_DELIMITER)):
        raise ValueError(
            f"tokenizer.think_end_id must be a token id, or a list of at most {MAX_DELIMITER}; got "
            f"{repr(end)[:100]}."
        )
    threshold = trace.params.get("cold_stop_entropy")
    if threshold is not None and type(threshold) not in (int, float):
        raise ValueError(f"params.cold_stop_entropy must be a number; got {repr(threshold)[:100]}.")
    size = trace.model.get("vocab_size")
    if size is not None and type(size) is not int:
        raise ValueError(f"model.vocab_size must be a whole number; got {repr(size)[:100]}.")
    for at, params in enumerate((trace.params, *trace.segments)):
        if not _is_plain(params, 3):
            name = f"segments[{at - 1}]" if at else "params"
            raise ValueError(
                f"{name} must have values as the parameters of a request have: numbers, short "
                "texts and lists."
            )


def _are_ids(value: Any, most: int) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) <= most
        and all(type(i) is int and 0 <= i < 2**31 for i in value)
    )


def _is_plain(value: Any, depth: int) -> bool:
    """JSON of no more than `depth` levels, no part of which is large."""
    if isinstance(value, str):
        return len(value) <= _TEXT
    if isinstance(value, Mapping | list | tuple):
        values = value.values() if isinstance(value, Mapping) else value
        names = value if isinstance(value, Mapping) else ()
        return (
            depth > 0
            and len(value) <= _ENTRIES
            and all(isinstance(name, str) and len(name) <= _ENTRIES for name in names)
            and all(_is_plain(v, depth - 1) for v in values)
        )
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return value is None or isinstance(value, float)


def _check_ids(trace: "Trace", name: str, ids: np.ndarray, size: int | None = None) -> None:
    size = trace.model.get("vocab_size") if size is None else size
    bad = np.argwhere((ids < 0) | (ids >= size if size is not None else False))
    if len(bad):
        at = tuple(int(i) for i in bad[0])
        where = "".join(f"[{i}]" for i in at)
        allowed = ">= 0" if size is None else f"in [0, {size - 1}], the model's vocabulary"
        raise ValueError(f"{name}{where} must be {allowed}; got {int(ids[at])}.")


def _check_weights(trace: "Trace") -> None:
    k = trace.steps.k
    most = trace.params.get("max_topk", k)
    if type(most) is not int:
        raise ValueError(f"params.max_topk must be a whole number; got {most!r}.")
    if k > (limit := most + 1) and not trace.segments:  # else another request may have had more
        raise ValueError(f"ids has {k} slots; max_topk allows at most {limit}.")
    _check_columns(trace.steps)


def _check_columns(steps: Steps, prefix: str = "") -> None:
    weights, entropy = steps.weights, steps.entropy
    bad = np.flatnonzero(~np.isfinite(entropy) | (entropy < 0))
    if len(bad):
        step = int(bad[0])
        raise ValueError(f"{prefix}entropy[{step}] must be finite and >= 0; got {entropy[step]}.")
    bad = np.argwhere(~np.isfinite(weights))
    if len(bad):
        step, slot = (int(i) for i in bad[0])
        value = weights[step, slot]
        raise ValueError(f"{prefix}weights[{step}][{slot}] must be finite; got {value}.")
    used = weights != 0
    gaps = np.flatnonzero((used[:, 1:] & ~used[:, :-1]).any(1))
    if len(gaps):
        raise ValueError(f"{prefix}weights[{int(gaps[0])}]: used slots must come first.")
    bad = np.flatnonzero(used.any(1) & (np.abs(weights[:, :1]) < _SMALLEST).all(1))
    if len(bad):
        step = int(bad[0])
        raise ValueError(
            f"{prefix}weights[{step}][0] must be a normal float32; got {weights[step, 0]:g}."
        )
    sums = weights.sum(1, dtype=np.float64)
    empty = ~used.any(1) if steps.offset_bytes else np.zeros(len(sums), bool)
    bad = np.flatnonzero((np.abs(sums - 1) > _SUM_TOLERANCE) & ~empty)
    if len(bad):
        step = int(bad[0])
        raise ValueError(f"{prefix}weights[{step}] must sum to 1; they sum to {sums[step]:.6g}.")
    if steps.offset_bytes:
        if steps.offset_bytes % OFFSET_DTYPES.get(steps.offset_dtype, steps.offset_bytes + 1):
            raise ValueError(
                f"{prefix}embedding_offsets: dtype must be one of {', '.join(OFFSET_DTYPES)}, and "
                f"fit {steps.offset_bytes} bytes a step; got {steps.offset_dtype!r}."
            )
        bad = np.flatnonzero(~np.isfinite(decode_offset(steps.offsets, steps.offset_dtype)).all(1))
        if len(bad):
            raise ValueError(f"{prefix}embedding_offsets[{int(bad[0])}] must be finite.")
