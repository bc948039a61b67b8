"""A trace out of a file, with what the answer around it says."""

from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sglang_soft.trace import Trace


class Read(NamedTuple):
    trace: Trace
    name: str
    """Of the file."""
    answer: str | None = None
    """Text after the thought, where the file has it apart."""
    summary: dict[str, Any] | None = None
    """`meta_info.soft_thinking` without the trace."""


def read(file: str | Path) -> Read:
    """npz (`Trace.save`), or JSON: a trace, or an answer of any endpoint, its first choice.

    Raises:
        ValueError: there is no trace in it, or a broken one; names what.
        OSError: it cannot be read.
    """
    path = Path(file)
    if path.suffix == ".npz":
        return Read(Trace.load(path), path.stem)
    try:
        found = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{path} is neither npz nor JSON: {error}") from error
    answer = summary = None
    for key in ("choices", "meta_info", "soft_thinking", "trace"):
        if isinstance(found, list) and found and key != "trace":
            found = found[0]
        if not isinstance(found, dict) or key not in found:
            continue
        if key == "trace":
            summary = {name: value for name, value in found.items() if name != "trace"}
        found = found[key]
        first = found[0] if isinstance(found, list) and found else found
        if key == "choices" and isinstance(first, dict):
            answer = (first.get("message") or {}).get("content")
    if not isinstance(found, dict | list):
        raise ValueError(f"{path} holds no trace.")
    try:
        return Read(Trace.from_json(found), path.stem, answer, summary)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
