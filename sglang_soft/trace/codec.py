"""JSON and npz forms of a trace. Plain values; nothing is pickled."""

import base64
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
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
        **{name: value for name in (*_OPEN, "segments") if (value := getattr(trace, name))},
        **_prompt_concepts(trace),
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
        steps=Steps.of(delta, head["k"], _weight_bits(head)),
    )  # fmt: skip
    _read_header(trace, head)
    return trace


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
    if not isinstance(trace.method, str):
        raise ValueError(f"method must be text; got {trace.method!r}.")
    trace.start = _whole(trace.start, "start", None, 2**31)
    trace.prompt_ids = _array(head, "prompt_ids", np.int32)
    trace.output_ids = _array(head, "output_ids", np.int32)
    trace.method_state = _array(head, "method_state", np.float32)
    trace.seed = _whole(head.get("seed"), "seed", None, 2**63)
    for name in ("low_entropy_steps", "delimiter_match", "tail_step"):
        setattr(trace, name, _whole(head.get(name), name, 0, 2**31))
    for name in ("thinking_finish_reason", "tail_reason"):
        if not isinstance(head.get(name), str | None):
            raise ValueError(f"{name} must be text or null; got {head[name]!r}.")
        setattr(trace, name, head.get(name))
    for name in ("params", "retractions", "model", "tokenizer", "versions"):
        value = head.get(name) or {}
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} must be an object; got {value!r}.")
        setattr(trace, name, dict(value))
    segments = head.get("segments") or []
    if not isinstance(segments, list) or not all(isinstance(s, Mapping) for s in segments):
        raise ValueError(f"segments must be a list of objects; got {repr(segments)[:100]}.")
    trace.segments = [dict(segment) for segment in segments]
    if (part := head.get("prompt_concepts")) is not None:
        if not isinstance(part, Mapping):
            raise ValueError(f"prompt_concepts must be an object; got {repr(part)[:100]}.")
        trace.prompt_start = _whole(part.get("start"), "prompt_concepts.start", None, 2**31)
        trace.prompt_steps = _steps_from_json([part])


def _whole(value: Any, name: str, default: int | None, limit: int) -> Any:
    """A whole number in (-limit, limit), or `default` in place of null."""
    if value is None:
        return default
    if type(value) is not int or not -limit < value < limit:
        raise ValueError(f"{name} must be a whole number; got {repr(value)[:100]}.")
    return value


def save(trace: "Trace", file: str | Path | io.IOBase) -> None:
    """See `Trace.save`."""
    steps = trace.steps
    head = header(trace) | {"start": trace.start, "offset_dtype": steps.offset_dtype}
    columns: dict[str, Any] = steps.extra | {
        "ids": steps.ids, "weights": steps.weights, "entropy": steps.entropy,
        "offsets": steps.offsets, "header": np.frombuffer(orjson.dumps(head), np.uint8),
    }  # fmt: skip
    np.savez(file, **columns)


def load(cls: type["Trace"], file: str | Path | io.IOBase, max_bytes: int | None = None) -> "Trace":
    """See `Trace.load`."""
    try:
        if max_bytes is not None:
            _check_size(file, max_bytes)
        with np.load(file, allow_pickle=False) as columns:
            data = {name: columns[name] for name in columns.files}
        head = orjson.loads(data["header"].tobytes())
        _check_columns(data)
        ids, weights, offsets = data["ids"], data["weights"], data["offsets"]
        extra = {name: data[name] for name in EXTRA if name in data}
        steps = Steps(
            ids.shape[1], weight_bits=_weight_bits(head), offset_bytes=offsets.shape[1],
            offset_dtype=head["offset_dtype"],
            extra={name: rows.shape[1] for name, rows in extra.items()},
        )  # fmt: skip
        steps.extend(ids, weights, data["entropy"], offsets, extra)
        _check_format(head)
        trace = cls(method=head["method"], steps=steps, start=head["start"])
    except FileNotFoundError:
        raise
    except Exception as error:
        what = "this" if isinstance(file, io.IOBase) else file
        raise ValueError(f"{what} is not a trace file: {error}") from error
    _read_header(trace, head)
    trace.validate()
    return trace


def _check_size(file: Any, max_bytes: int) -> None:
    """An archive may be a thousand times as large as its file."""
    with zipfile.ZipFile(file) as archive:
        size = sum(info.file_size for info in archive.infolist())
    if size > max_bytes:
        raise ValueError(f"its arrays have {size} bytes; at most {max_bytes} are allowed.")


def _check_columns(data: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError: a column has another dtype or shape than `save` gives it."""
    count = len(data["entropy"])
    wanted: dict[str, tuple[type, int]] = {
        "ids": (np.int32, 2),
        "weights": (np.float32, 2),
        "entropy": (np.float32, 1),
    }
    wanted |= {"offsets": (np.uint8, 2)} | {n: (t, 2) for n, t in EXTRA.items() if n in data}
    for name, (dtype, dimensions) in wanted.items():
        column = data[name]
        if column.dtype != dtype or column.ndim != dimensions or len(column) != count:
            kind = np.dtype(dtype).name
            raise ValueError(
                f"{name} must be {kind} of {dimensions} dimensions and {count} steps; got "
                f"{column.dtype} of shape {column.shape}."
            )
    if data["ids"].shape != data["weights"].shape or not 0 < data["ids"].shape[1] <= MAX_K:
        raise ValueError(
            f"ids and weights must be [n, k] alike, k in [1, {MAX_K}]; got {data['ids'].shape} and "
            f"{data['weights'].shape}."
        )


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
    return part | {name: rows.tolist() for name, rows in delta.rows().items()}


def _steps_from_json(parts: Sequence[Mapping[str, Any]]) -> Steps:
    every = [_ragged(part, "weights", np.float32) for part in parts]
    largest = max((int(sizes.max(initial=0)) for sizes, _ in every), default=0)
    k = parts[-1].get("k", largest)
    if type(k) is not int or not largest <= k <= MAX_K:
        raise ValueError(f"k must be a whole number in [{largest}, {MAX_K}]; got {k!r}.")
    steps = Steps(k, weight_bits=_weight_bits(parts[-1]))
    for part, weights in zip(parts, every, strict=True):
        entropy, ids = _array(part, "entropy", np.float32), _ragged(part, "ids", np.int32)
        count, first = len(entropy), part.get("step", len(steps))
        if first != len(steps):
            raise ValueError(
                f"step is {first!r}, not {len(steps)}: chunks are missing or mixed up."
            )
        for name, (sizes, _) in (("ids", ids), ("weights", weights)):
            if len(sizes) != count:
                raise ValueError(f"{name} has {len(sizes)} steps, entropy {count}.")
        if len(at := np.flatnonzero(ids[0] != weights[0])):
            raise ValueError(f"ids[{at[0]}] and weights[{at[0]}] differ in length.")
        if count:
            extra = _extra(part, count)
            for name, column in extra.items():
                steps.use_extra(name, column.shape[1])
            offsets = _offsets(part, steps, count)
            steps.extend(_padded(*ids, k), _padded(*weights, k), entropy, offsets, extra)
    return steps


def _ragged(part: Mapping[str, Any], name: str, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """A list of lists as their lengths [n] and their values, one after another."""
    rows = part.get(name, [])
    try:
        sizes = np.fromiter(map(len, rows), np.int64, len(rows))
        return sizes, _array({name: list(chain.from_iterable(rows))}, name, dtype)
    except (TypeError, ValueError):
        _rows(part, name, dtype)  # says which row is wrong
        raise ValueError(f"{name} must be a list of lists of numbers.") from None


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
            rows = _rows({name: given}, name, dtype)
            if len(rows) != count or len({len(row) for row in rows}) != 1:
                raise ValueError(f"{name} must have {count} rows of one length; got {len(rows)}.")
            if len(rows[0]) > MAX_K:
                raise ValueError(f"{name}[0] has {len(rows[0])} columns; at most {MAX_K}.")
            found[name] = np.stack(rows)
    return found


def _weight_bits(head: Mapping[str, Any]) -> int:
    """How weights are kept: those of several requests may be on different grids."""
    params = head.get("params")
    bits = (params.get("weight_bits") if isinstance(params, Mapping) else None) or 0
    if type(bits) is not int or not 0 <= bits <= 16:
        raise ValueError(f"params.weight_bits must be null or in [1, 16]; got {bits!r}.")
    return 0 if head.get("segments") else bits


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
        array = np.asarray(values.get(name, ()))
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{name} must be a list of numbers; {error}.") from error
    whole = np.issubdtype(dtype, np.integer)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a flat list; it has {array.ndim} dimensions.")
    if array.size and array.dtype.kind not in ("iu" if whole else "iuf"):
        kind = "whole numbers" if whole else "numbers"
        bad = next((v for v in values[name] if not _is_number(v, whole)), values[name])
        raise ValueError(f"{name} must be a list of {kind}; got {repr(bad)[:100]}.")
    if whole and array.size:
        limits = np.iinfo(dtype)
        bad = np.flatnonzero((array < limits.min) | (array > limits.max))
        if len(bad):
            raise ValueError(f"{name}[{bad[0]}] must fit in 32 bits; got {array[bad[0]]}.")
    return array.astype(dtype)


def _is_number(value: Any, whole: bool) -> bool:
    return type(value) is int or (type(value) is float and not whole)
