"""npz form of a trace: its columns, and the header of the JSON form. Nothing is pickled."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from sglang_soft.trace.codec import MAX_K, check_format, header, read_header, weight_bits_of
from sglang_soft.trace.numbers import check_lengths
from sglang_soft.trace.steps import EXTRA, Steps

if TYPE_CHECKING:
    from sglang_soft.trace.trace import Trace


def save(trace: "Trace", file: str | Path | io.IOBase) -> None:
    """See `Trace.save`."""
    steps = trace.steps
    head = header(trace) | {"start": trace.start, "offset_dtype": steps.offset_dtype}
    columns: dict[str, Any] = steps.extra | {
        "ids": steps.ids, "weights": steps.weights, "entropy": steps.entropy,
        "offsets": steps.offsets, "header": np.frombuffer(orjson.dumps(head), np.uint8),
    }  # fmt: skip
    np.savez(file, **columns)


def load(
    cls: type["Trace"], file: str | Path | io.IOBase, max_bytes: int | None = None,
    max_tokens: int | None = None,
) -> "Trace":  # fmt: skip
    """See `Trace.load` and `Trace.from_base64`."""
    try:
        _check_members(file, max_bytes)
        with np.load(file, allow_pickle=False) as columns:
            data = {name: columns[name] for name in columns.files}
        head = orjson.loads(data["header"].tobytes())
        if not isinstance(head, dict):
            raise ValueError("its header is no object.")
        _check_columns(data)
        ids, weights, offsets = data["ids"], data["weights"], data["offsets"]
        extra = {name: data[name] for name in EXTRA if name in data}
        steps = Steps(
            ids.shape[1], weight_bits=weight_bits_of(head), offset_bytes=offsets.shape[1],
            offset_dtype=head["offset_dtype"],
            extra={name: rows.shape[1] for name, rows in extra.items()},
        )  # fmt: skip
        steps.extend(ids, weights, data["entropy"], offsets, extra)
        check_format(head)
        if max_tokens is not None:
            check_lengths([head | {"entropy": data["entropy"]}], max_tokens)
        trace = cls(method=head["method"], steps=steps, start=head["start"])
    except FileNotFoundError:
        raise
    except Exception as error:
        what = "this" if isinstance(file, io.IOBase) else file
        raise ValueError(f"{what} is not a trace file: {error}") from error
    read_header(trace, head)
    trace.validate()
    return trace


_MEMBERS = {"ids", "weights", "entropy", "offsets", "header", *EXTRA}


def _check_members(file: Any, max_bytes: int | None) -> None:
    """Before anything is unpacked: an archive may be a thousand times as large as its file."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    names = [member.filename.removesuffix(".npy") for member in members]
    if not set(names) <= _MEMBERS or len(set(names)) < len(names):
        raise ValueError(f"its arrays must be of {', '.join(sorted(_MEMBERS))}, each once.")
    size = sum(member.file_size for member in members)
    if max_bytes is not None and size > max_bytes:
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
