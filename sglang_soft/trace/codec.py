"""JSON form of a trace: plain values. The npz form (files.py) has the same header."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sglang_soft.trace.numbers import check_lengths, numbers, table, whole
from sglang_soft.trace.steps import EXTRA, OFFSET_DTYPES, Steps, StepsDelta

if TYPE_CHECKING:
    from sglang_soft.trace.trace import Trace

MAX_K = 64
"""Largest concept of a trace: the kernels are built for no larger one."""

_OPEN = ("delimiter_match", "tail_step", "tail_reason")
"""State inside a delimiter or a forced end; left out where there is none."""

FORMAT = 1
"""Version of the JSON and npz formats; another one is refused."""


def header(trace: "Trace") -> dict[str, Any]:
    """All but the steps: what the last chunk of a stream adds."""
    return {
        "format": FORMAT,
        "method": trace.method,
        "k": trace.steps.k,
        "params": trace.params,
        "seed": trace.seed,
        "prompt_ids": trace.prompt_ids.tolist(),
        "output_ids": trace.output_ids.tolist(),
        "thinking_finish_reason": trace.thinking_finish_reason,
        "low_entropy_steps": trace.low_entropy_steps,
        "method_state": trace.method_state.tolist(),
        **{name: value for name in (*_OPEN, "segments") if (value := getattr(trace, name))},
        **_prompt_concepts(trace),
        **({"end_weights": trace.end_weights.tolist()} if len(trace.end_weights) else {}),
        "retractions": trace.retractions,
        "model": trace.model,
        "tokenizer": trace.tokenizer,
        "versions": trace.versions,
    }


def _prompt_concepts(trace: "Trace") -> dict[str, Any]:
    if trace.prompt_steps is None:
        return {}
    return {"prompt_concepts": steps_to_json(trace.prompt_steps.delta(0, trace.prompt_start))}


def joined(cls: type["Trace"], delta: StepsDelta, head: Mapping[str, Any]) -> "Trace":
    """See `Trace.of`."""
    trace = cls(
        method=head["method"], start=delta.start,
        steps=Steps.of(delta, head["k"], weight_bits_of(head)),
    )  # fmt: skip
    read_header(trace, head)
    return trace


def from_json(
    cls: type["Trace"], chunks: Mapping[str, Any] | Iterable[Mapping[str, Any]],
    max_tokens: int | None = None,
) -> "Trace":  # fmt: skip
    """See `Trace.from_json`."""
    parts = [chunks] if isinstance(chunks, Mapping) else [c for c in chunks if c]
    if not parts or not all(isinstance(part, Mapping) for part in parts):
        raise ValueError("a trace must be an object, or a list of the objects of a stream.")
    if max_tokens is not None:
        check_lengths(parts, max_tokens)
    head = parts[-1]
    missing = [key for key in ("format", "method", "output_ids") if key not in head]
    if missing:
        raise ValueError(f"the last part of the trace lacks {', '.join(missing)}.")
    check_format(head)
    trace = cls(method=head["method"], steps=_steps_from_json(parts))
    trace.start = next((p["start"] for p in parts if p.get("start") is not None), None)
    read_header(trace, head)
    trace.validate()
    return trace


def read_header(trace: "Trace", head: Mapping[str, Any]) -> None:
    if not isinstance(trace.method, str):
        raise ValueError(f"method must be text; got {repr(trace.method)[:100]}.")
    trace.start = whole(trace.start, "start", None, 2**31)
    trace.prompt_ids = numbers(head.get("prompt_ids", []), "prompt_ids", np.int32)
    trace.output_ids = numbers(head.get("output_ids", []), "output_ids", np.int32)
    trace.method_state = numbers(head.get("method_state", []), "method_state", np.float32)
    trace.end_weights = numbers(head.get("end_weights", []), "end_weights", np.float32)
    trace.seed = whole(head.get("seed"), "seed", None, 2**63)
    for name in ("low_entropy_steps", "delimiter_match", "tail_step"):
        setattr(trace, name, whole(head.get(name), name, 0, 2**31))
    for name in ("thinking_finish_reason", "tail_reason"):
        if not isinstance(head.get(name), str | None):
            raise ValueError(f"{name} must be text or null; got {repr(head[name])[:100]}.")
        setattr(trace, name, head.get(name))
    for name in ("params", "retractions", "model", "tokenizer", "versions"):
        value = head.get(name) or {}
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} must be an object; got {repr(value)[:100]}.")
        setattr(trace, name, dict(value))
    segments = head.get("segments") or []
    if not isinstance(segments, list) or not all(isinstance(s, Mapping) for s in segments):
        raise ValueError(f"segments must be a list of objects; got {repr(segments)[:100]}.")
    trace.segments = [dict(segment) for segment in segments]
    if (part := head.get("prompt_concepts")) is not None:
        if not isinstance(part, Mapping):
            raise ValueError(f"prompt_concepts must be an object; got {repr(part)[:100]}.")
        trace.prompt_start = whole(part.get("start"), "prompt_concepts.start", None, 2**31)
        try:
            trace.prompt_steps = _steps_from_json([part])
        except ValueError as error:
            raise ValueError(f"prompt_concepts: {error}") from None


def check_format(head: Mapping[str, Any]) -> None:
    if head["format"] != FORMAT or type(head["format"]) is not int:
        raise ValueError(f"format must be {FORMAT}; got {head['format']!r}.")


def steps_to_json(delta: StepsDelta) -> dict[str, Any]:
    """Columns over steps; ids and weights without the unused slots."""
    ids = np.frombuffer(delta.ids, np.int32).reshape(delta.steps, delta.k)
    weights = np.frombuffer(delta.weights, np.float32).reshape(delta.steps, delta.k)
    sizes = np.count_nonzero(weights, axis=1).tolist()
    part = {
        "start": delta.start,
        "step": delta.step,
        "ids": [row[:n] for row, n in zip(ids.tolist(), sizes, strict=True)],
        "weights": [row[:n] for row, n in zip(weights.tolist(), sizes, strict=True)],
        "entropy": np.frombuffer(delta.entropy, np.float32).tolist(),
    }
    if delta.offsets:
        data = base64.b64encode(delta.offsets).decode()
        part["embedding_offsets"] = {"dtype": delta.offset_dtype, "data": data}
    return part | {name: rows.tolist() for name, rows in delta.rows().items()}


def _steps_from_json(parts: Sequence[Mapping[str, Any]]) -> Steps:
    every = [table(part, "weights", np.float32) for part in parts]
    largest = max((max(sizes.tolist(), default=0) for sizes, _ in every), default=0)
    k = parts[-1].get("k", largest)
    if type(k) is not int or not largest <= k <= MAX_K:
        raise ValueError(f"k must be a whole number in [{largest}, {MAX_K}]; got {repr(k)[:100]}.")
    steps = Steps(k, weight_bits=weight_bits_of(parts[-1]))
    for part, (sizes, weights) in zip(parts, every, strict=True):
        entropy = numbers(part.get("entropy", []), "entropy", np.float32)
        count, first = len(entropy), part.get("step", len(steps))
        if first != len(steps):
            raise ValueError(
                f"step is {repr(first)[:100]}, not {len(steps)}: chunks are missing or mixed up."
            )
        sizes_of_ids, ids = table(part, "ids", np.int32)
        for name, found in (("ids", sizes_of_ids), ("weights", sizes)):
            if len(found) != count:
                raise ValueError(f"{name} has {len(found)} steps, entropy {count}.")
        differ = np.flatnonzero(sizes != sizes_of_ids)
        if len(differ):
            raise ValueError(f"ids[{differ[0]}] and weights[{differ[0]}] differ in length.")
        if count:
            extra = _extra(part, count)
            for name, column in extra.items():
                steps.use_extra(name, column.shape[1])
            offsets = _offsets(part, steps, count)
            steps.extend(
                _padded(sizes, ids, k), _padded(sizes, weights, k), entropy, offsets, extra
            )
    return steps


def _padded(sizes: np.ndarray, values: np.ndarray, k: int) -> np.ndarray:
    """[n, k]: rows of these lengths, then zeros."""
    columns: np.ndarray = np.zeros((len(sizes), k), values.dtype)
    columns[np.arange(k) < sizes[:, None]] = values
    return columns


def _extra(part: Mapping[str, Any], count: int) -> dict[str, np.ndarray]:
    """[count, width] each"""
    found = {}
    for name, dtype in EXTRA.items():
        if name in part:
            given = part[name]
            if isinstance(given, list):  # JSON has no NaN
                given = [[np.nan if v is None else v for v in row] if isinstance(row, list) else row
                         for row in given]  # fmt: skip
            sizes, values = table({name: given}, name, dtype)
            if len(sizes) != count or len(set(sizes.tolist())) != 1:
                raise ValueError(f"{name} must have {count} rows of one length; got {len(sizes)}.")
            if sizes[0] > MAX_K:
                raise ValueError(f"{name}[0] has {sizes[0]} columns; at most {MAX_K}.")
            found[name] = values.reshape(count, sizes[0])
    return found


def weight_bits_of(head: Mapping[str, Any]) -> int:
    """How weights are kept: those of several requests may be on different grids."""
    params = head.get("params")
    bits = (params.get("weight_bits") if isinstance(params, Mapping) else None) or 0
    if type(bits) is not int or not 0 <= bits <= 16:
        raise ValueError(f"params.weight_bits must be null or in [1, 16]; got {bits!r}.")
    return 0 if head.get("segments") else bits


def _offsets(part: Mapping[str, Any], steps: Steps, count: int) -> np.ndarray:
    """[count, bytes] uint8"""
    offsets = part.get("embedding_offsets")
    if offsets is None:
        return np.zeros((count, steps.offset_bytes), np.uint8)
    if not isinstance(offsets, Mapping):
        raise ValueError(f"embedding_offsets must be an object; got {repr(offsets)[:100]}.")
    dtype, data = offsets.get("dtype"), offsets.get("data")
    if not isinstance(dtype, str) or dtype not in OFFSET_DTYPES or not isinstance(data, str):
        raise ValueError(
            f"embedding_offsets needs a dtype ({', '.join(OFFSET_DTYPES)}) and data in base64; "
            f"got dtype {repr(dtype)[:100]}."
        )
    try:
        raw = np.frombuffer(base64.b64decode(data, validate=True), np.uint8)
    except ValueError as error:
        raise ValueError(f"embedding_offsets.data is not base64: {error}.") from None
    size, left = divmod(len(raw), count)
    if left or not size or size % OFFSET_DTYPES[dtype]:
        raise ValueError(f"embedding_offsets has {len(raw)} bytes for {count} steps of {dtype}.")
    if not len(steps):
        steps.use_offsets(size, dtype)
    if (size, dtype) != (steps.offset_bytes, steps.offset_dtype):
        raise ValueError(
            f"embedding_offsets are of {size} bytes of {dtype}, and of {steps.offset_bytes} of "
            f"{steps.offset_dtype}."
        )
    return raw.reshape(count, size)
