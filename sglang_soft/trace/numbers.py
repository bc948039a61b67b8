"""Lists of numbers out of JSON, as arrays. A client may have written anything there, so types are
looked at before numpy is: it would make text of a list that holds one, as long as its longest."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np


def whole(value: Any, name: str, default: int | None, limit: int) -> Any:
    """A whole number in (-limit, limit), or `default` in place of null."""
    if value is None:
        return default
    if type(value) is not int or not -limit < value < limit:
        raise ValueError(f"{name} must be a whole number; got {repr(value)[:100]}.")
    return value


def numbers(values: Any, name: str, dtype: type) -> np.ndarray:
    """A flat list as [n] int32 or float32.

    Raises:
        ValueError: it is none, or holds something else than numbers that fit; names it.
    """
    if not isinstance(values, list | tuple):
        raise ValueError(f"{name} must be a flat list; got {repr(values)[:100]}.")
    integer = np.issubdtype(dtype, np.integer)
    allowed = {int} if integer else {int, float}
    if not set(map(type, values)) <= allowed:
        at, bad = next((i, v) for i, v in enumerate(values) if type(v) not in allowed)
        kind = "whole numbers" if integer else "numbers"
        nested = ", and flat" if isinstance(bad, list | tuple) else ""
        raise ValueError(
            f"{name} must be a list of {kind}{nested}; got {repr(bad)[:100]} at index {at}."
        )
    if integer:
        limits = np.iinfo(dtype)
        if values and not limits.min <= min(values) <= max(values) <= limits.max:
            at = next(i for i, v in enumerate(values) if not limits.min <= v <= limits.max)
            raise ValueError(f"{name}[{at}] must fit in 32 bits; got {repr(values[at])[:100]}.")
        return np.array(values, dtype)
    try:
        with np.errstate(over="ignore"):  # infinity: `validate` names it
            return np.array(values, np.float64).astype(dtype)
    except OverflowError as error:
        raise ValueError(f"{name} must be a list of numbers that fit; {error}.") from None


def table(part: Mapping[str, Any], name: str, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """A list of lists: the length of each, [n] int64, and all their values in one row.

    Raises:
        ValueError: as `numbers`; names the row.
    """
    rows = part.get(name, [])
    if not isinstance(rows, list | tuple):
        raise ValueError(f"{name} must be a list of lists; got {repr(rows)[:100]}.")
    for at, row in enumerate(rows):
        if not isinstance(row, list | tuple):
            raise ValueError(f"{name}[{at}] must be a list of numbers; got {repr(row)[:100]}.")
    sizes = np.fromiter(map(len, rows), np.int64, len(rows))
    try:
        return sizes, numbers(list(chain.from_iterable(rows)), name, dtype)
    except ValueError:
        for at, row in enumerate(rows):
            numbers(row, f"{name}[{at}]", dtype)
        raise


def check_lengths(parts: Sequence[Mapping[str, Any]], most: int) -> None:
    """Before anything is converted. Raises ValueError: the trace has more tokens than `most`."""
    for name in ("prompt_ids", "output_ids", "ids", "weights", "entropy"):
        lists = [v for part in parts if isinstance(v := part.get(name), list | np.ndarray)]
        count = sum(map(len, lists))
        if max(count, len(parts)) > most + 1:
            raise ValueError(
                f"{name} has {count} entries in {len(parts)} parts; this model's context is {most} "
                "tokens."
            )
    earlier = parts[-1].get("prompt_concepts")
    if isinstance(earlier, Mapping):
        check_lengths([{k: v for k, v in earlier.items() if k != "prompt_concepts"}], most)
