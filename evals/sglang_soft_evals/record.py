"""One record of `samples.jsonl`: an answer, and what is known of it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

STATUSES = ("ok", "truncated", "failed")


class Key(NamedTuple):
    """What names a sample; no two records of a run share it."""

    benchmark: str
    method: str
    """The name in the run file."""
    question: str
    sample: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One answer, without its texts."""

    benchmark: str
    method: str
    question: str
    sample: int
    seed: int
    status: str
    """One of STATUSES."""
    correct: bool
    """False for a failed request: it counts as wrong, and its status shows why."""
    graded: bool
    """False if another program has yet to score it (code)."""
    answer: str | None
    """As extracted; None if the text gives none."""
    gold: str
    thinking_method: str | None
    """The method that the server says it used; None for a discrete request."""
    thinking_tokens: int
    answer_tokens: int
    completion_tokens: int
    thinking_finish_reason: str | None
    mean_entropy: float | None
    """In nats, over the thinking steps."""
    mean_concept_size: float | None
    """Mean number of mixed tokens over the thinking steps; None: discrete, or no such steps."""
    mixed_share: float | None
    """Share of the thinking steps that mixed more than one token; None as before."""
    latency_s: float
    trace: str | None
    """File with its trace, below the run directory; None: it was not kept."""
    error: str | None
    """Why the request failed or the grader has no verdict."""
    offset: int
    """Bytes before its line in samples.jsonl."""

    @property
    def key(self) -> Key:
        return Key(self.benchmark, self.method, self.question, self.sample)

    @property
    def failed(self) -> bool:
        return self.status == "failed"


_LATER = ("mean_concept_size", "mixed_share", "trace")
"""Missing in records of older versions."""
_FIELDS = [name for name in Record.__dataclass_fields__ if name not in ("offset", "graded")]


def parse(line: bytes, offset: int) -> Record:
    """One line as a record. Raises ValueError for what is not one."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not a record ({error})") from None
    if not isinstance(row, dict):
        raise ValueError(f"not a record (it is a {type(row).__name__})")
    row = {**dict.fromkeys(_LATER), **row}
    missing = [name for name in _FIELDS if name not in row]
    if missing:
        raise ValueError(f"not a record of this version: the keys {missing} are missing")
    if row["status"] not in STATUSES:
        raise ValueError(f"status is {row['status']!r}, must be one of {', '.join(STATUSES)}")
    values: dict[str, Any] = {name: row[name] for name in _FIELDS}
    graded = row["correct"] is not None or row["status"] == "failed"
    return Record(**{**values, "correct": bool(row["correct"]), "graded": graded, "offset": offset})


def failed_methods(records: Iterable[Record]) -> dict[str, str]:
    """Methods without a score, with the most frequent error: every request failed, or the grader
    had no verdict on any answer."""
    errors: dict[str, Counter[str]] = {}
    answered = set()
    for record in records:
        if record.failed or record.error:
            errors.setdefault(record.method, Counter())[record.error or "no reason given"] += 1
        else:
            answered.add(record.method)
    return {m: found.most_common(1)[0][0] for m, found in errors.items() if m not in answered}
