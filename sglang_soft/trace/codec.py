"""JSON and npz forms of a trace. Plain values; nothing is pickled."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

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
        **{name: value for name in _OPEN if (value := getattr(trace, name))},
        **({"end_weights": trace.end_weights.tolist()} if len(trace.end_weights) else {}),
        "retractions": trace.retractions,
        "model": trace.model,
        "tokenizer": trace.tokenizer,
        "versions": trace.versions,
    }


def from_json(
    cls: type["Trace"], chunks: Mapping[str, Any] | Iterable[Mapping[str, Any]]
) -> "Trace":
    """See `Trace.from_json`."""
    parts = [chunks] if isinstance(chunks, Mapping) else [c for c in chunks if c]
    if not parts or not all(isinstance(part, Mapping) for part in parts):
        raise ValueError("a trace must be an object, or a list of the objects of a stream.")
    head = parts[-1]
    missing = [key for key in ("format", "method", "output_ids") if key not in head]
    if missing:
        raise ValueError(f"the last part of the trace lacks {', '.join(missing)}.")
    _check_format(head)
    trace = cls(method=head["method"], steps=_steps_from_json(parts))
    trace.start = next((p["start"] for p in parts if p.get("start") is not None), None)
    _read_header(trace, head)
    trace.validate()
    return trace


def _read_header(trace: "Trace", head: Mapping[str, Any]) -> None:
    trace.prompt_ids = _array(head, "prompt_ids", np.int32)
    trace.output_ids = _array(head, "output_ids", np.int32)
    trace.method_state = _array(head, "method_state", np.float32)
    trace.end_weights = _array(head, "end_weights", np.float32)
    trace.seed = None if head.get("seed") is None else int(head["seed"])
    trace.low_entropy_steps = int(head.get("low_entropy_steps", 0))
    trace.thinking_finish_reason = head.get("thinking_finish_reason")
    trace.delimiter_match = int(head.get("delimiter_match", 0))
    trace.tail_step, trace.tail_reason = int(head.get("tail_step", 0)), head.get("tail_reason")
    for name in ("params", "retractions", "model", "tokenizer", "versions"):
        value = head.get(name) or {}
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} must be an object; got {value!r}.")
        setattr(trace, name, dict(value))


def save(trace: "Trace", file: str | Path | io.IOBase) -> None:
    """See `Trace.save`."""
    steps = trace.steps
    head = header(trace) | {"start": trace.start, "offset_dtype": steps.offset_dtype}
    columns: dict[str, Any] = steps.extra | {
        "ids": steps.ids, "weights": steps.weights, "entropy": steps.entropy,
        "offsets": steps.offsets, "header": np.frombuffer(orjson.dumps(head), np.uint8),
    }  # fmt: skip
    np.savez(file, **columns)


def load(cls: type["Trace"], file: str | Path | io.IOBase) -> "Trace":
    """See `Trace.load`."""
    try:
        with np.load(file, allow_pickle=False) as columns:
            data = {name: columns[name] for name in columns.files}
        head = orjson.loads(data["header"].tobytes())
        ids, weights, offsets = data["ids"], data["weights"], data["offsets"]
        extra = {name: data[name] for name in EXTRA if name in data}
        steps = Steps(
            ids.shape[1], weight_bits=_weight_bits(head), offset_bytes=offsets.shape[1],
            offset_dtype=head["offset_dtype"],
            extra={name: rows.shape[1] for name, rows in extra.items()},
        )  # fmt: skip
        steps.extend(ids, weights, data["entropy"], offsets, extra)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{file} is not a trace file: {error}") from error
    _check_format(head)
    trace = cls(method=head["method"], steps=steps, start=head["start"])
    _read_header(trace, head)
    trace.validate()
    return trace


def _check_format(head: Mapping[str, Any]) -> None:
    if head["format"] != FORMAT:
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
    for name, column in delta.extra.items():
        part[name] = np.frombuffer(column, EXTRA[name]).reshape(delta.steps, -1).tolist()
    return part


def _steps_from_json(parts: Sequence[Mapping[str, Any]]) -> Steps:
    every = [_rows(part, "weights", np.float32) for part in parts]
    largest = max((len(row) for rows in every for row in rows), default=0)
    k = parts[-1].get("k", largest)
    if not isinstance(k, int) or not largest <= k <= MAX_K:
        raise ValueError(f"k must be a whole number in [{largest}, {MAX_K}]; got {k!r}.")
    steps = Steps(k, weight_bits=_weight_bits(parts[-1]))
    for part, weights_of in zip(parts, every, strict=True):
        entropy = _array(part, "entropy", np.float32)
        count, first = len(entropy), part.get("step", len(steps))
        if first != len(steps):
            raise ValueError(
                f"step is {first!r}, not {len(steps)}: chunks are missing or mixed up."
            )
        all_ids: np.ndarray = np.zeros((count, k), np.int32)
        all_weights: np.ndarray = np.zeros((count, k), np.float32)
        rows = _rows(part, "ids", np.int32), weights_of
        for name, found in zip(("ids", "weights"), rows, strict=True):
            if len(found) != count:
                raise ValueError(f"{name} has {len(found)} steps, entropy {count}.")
        for at, (ids, weights) in enumerate(zip(*rows, strict=True)):
            if len(ids) != len(weights):
                raise ValueError(f"ids[{at}] and weights[{at}] differ in length.")
            all_ids[at, : len(ids)], all_weights[at, : len(ids)] = ids, weights
        if count:
            extra = _extra(part, count)
            for name, column in extra.items():
                steps.use_extra(name, column.shape[1])
            steps.extend(all_ids, all_weights, entropy, _offsets(part, steps, count), extra)
    return steps


def _extra(part: Mapping[str, Any], count: int) -> dict[str, np.ndarray]:
    """[count, width] each"""
    found = {}
    for name, dtype in EXTRA.items():
        if name in part:
            rows = _rows(part, name, dtype)
            if len(rows) != count or len({len(row) for row in rows}) != 1:
                raise ValueError(f"{name} must have {count} rows of one length; got {len(rows)}.")
            if len(rows[0]) > MAX_K:
                raise ValueError(f"{name}[0] has {len(rows[0])} columns; at most {MAX_K}.")
            found[name] = np.stack(rows)
    return found


def _weight_bits(head: Mapping[str, Any]) -> int:
    params = head.get("params")
    bits = (params.get("weight_bits") if isinstance(params, Mapping) else None) or 0
    if not isinstance(bits, int) or not 0 <= bits <= 16:
        raise ValueError(f"params.weight_bits must be null or in [1, 16]; got {bits!r}.")
    return bits


def _offsets(part: Mapping[str, Any], steps: Steps, count: int) -> np.ndarray:
    """[count, bytes] uint8"""
    offsets = part.get("embedding_offsets")
    if not offsets:
        return np.zeros((count, steps.offset_bytes), np.uint8)
    dtype, data = offsets.get("dtype"), offsets.get("data")
    if dtype not in OFFSET_DTYPES or not isinstance(data, str):
        raise ValueError(
            f"embedding_offsets needs a dtype ({', '.join(OFFSET_DTYPES)}) and data in base64; "
            f"got dtype {dtype!r}."
        )
    raw = np.frombuffer(base64.b64decode(data), np.uint8)
    size, left = divmod(len(raw), count)
    if left or not size or size % OFFSET_DTYPES[dtype]:
        raise ValueError(f"embedding_offsets has {len(raw)} bytes for {count} steps of {dtype}.")
    if not len(steps):
        steps.use_offsets(size, dtype)
    if size != steps.offset_bytes:
        raise ValueError(f"embedding_offsets are of {size} and of {steps.offset_bytes} bytes.")
    return raw.reshape(count, size)


def _rows(part: Mapping[str, Any], name: str, dtype: type) -> list[np.ndarray]:
    rows = part.get(name, [])
    if not isinstance(rows, list):
        raise ValueError(f"{name} must be a list of lists; got {repr(rows)[:100]}.")
    return [_array({f"{name}[{at}]": row}, f"{name}[{at}]", dtype) for at, row in enumerate(rows)]


def _array(values: Mapping[str, Any], name: str, dtype: type) -> np.ndarray:
    try:
        array = np.asarray(values.get(name, ()), dtype=dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{name} must be a list of numbers; {error}.") from error
    if array.ndim != 1:
        raise ValueError(f"{name} must be a flat list; it has {array.ndim} dimensions.")
    return array
