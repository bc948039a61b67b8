"""The two files of a run, read for the report: `run.json` and `samples.jsonl`.

Prompts and texts stay on disk: a long run has gigabytes of them and the report shows a few. A
record keeps the place of its line, and `read_text` fetches it.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

SAMPLES, RUN = "samples.jsonl", "run.json"
Identity = tuple[str, str, str, int]
"""Benchmark, method, question, sample: what no two records share."""
STATUSES = ("ok", "truncated", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One answer, without its texts."""

    benchmark: str
    method: str
    question: str
    sample: int
    seed: int
    status: str
    correct: bool
    """False for a failed request: it counts as wrong, and is shown apart by its status."""
    graded: bool
    """False where a runner outside has yet to score it (code)."""
    answer: str | None
    gold: str
    thinking_tokens: int
    answer_tokens: int
    completion_tokens: int
    how_ended: str | None
    mean_entropy: float | None
    latency_s: float
    offset: int
    """Bytes before its line in samples.jsonl."""

    @property
    def identity(self) -> Identity:
        return self.benchmark, self.method, self.question, self.sample

    @property
    def failed(self) -> bool:
        return self.status == "failed"


@dataclass(slots=True, kw_only=True)
class Run:
    """A run as far as it got."""

    folder: Path
    info: dict[str, Any]
    """run.json as it is."""
    methods: dict[str, dict[str, Any] | None]
    """Name to parameters (None: plain sampling), in the order of the run."""
    groups: dict[tuple[str, str], dict[str, list[Record]]] = field(default_factory=dict)
    """(benchmark, method) -> question -> its records by sample."""
    benchmarks: list[str] = field(default_factory=list)
    torn: bool = False
    """The last line was cut off while it was written; it is not counted."""

    @property
    def expected(self) -> int:
        """Records of one method in a complete run, over all benchmarks."""
        return int(self.info["samples"]) * int(self.info["questions"])

    def graded(self, benchmark: str) -> bool:
        """Whether every answer has a verdict."""
        return all(
            r.graded
            for m in self.methods
            for group in self.of(benchmark, m).values()
            for r in group
        )

    def of(self, benchmark: str, method: str) -> dict[str, list[Record]]:
        """Question -> records; empty where nothing has come yet."""
        return self.groups.get((benchmark, method), {})

    def records(self, method: str) -> list[Record]:
        """All records of a method, over all benchmarks."""
        return [
            r
            for name in self.benchmarks
            for records in self.of(name, method).values()
            for r in records
        ]


def load(folder: Path) -> Run:
    """Read a run. ValueError naming file, line and key for what is not a record of this run."""
    info = orjson.loads((folder / RUN).read_bytes())
    for key in ("methods", "samples", "questions"):
        if key not in info:
            raise ValueError(f"{folder / RUN}: the key {key!r} is missing")
    run = Run(
        folder=folder, info=info, methods={m["name"]: m.get("params") for m in info["methods"]}
    )
    found: dict[Identity, Record] = {}
    path, offset = folder / SAMPLES, 0
    with path.open("rb") if path.exists() else io.BytesIO() as lines:
        for number, line in enumerate(lines, 1):
            start, offset = offset, offset + len(line)
            if not line.endswith(b"\n"):
                run.torn = True
                break
            record = _record(line, start, f"{path}, line {number}", run.methods)
            if record.identity in found:
                raise ValueError(
                    f"{path}, line {number}: sample {record.identity} is there twice; each may count once"
                )
            found[record.identity] = record
    for record in sorted(found.values(), key=lambda r: r.sample):
        run.groups.setdefault((record.benchmark, record.method), {}).setdefault(
            record.question, []
        ).append(record)
    run.benchmarks = list(dict.fromkeys(key[0] for key in found))
    return run


def read_text(run: Run, record: Record) -> dict[str, Any]:
    """The whole line of a record, with prompt, reasoning and text."""
    with (run.folder / SAMPLES).open("rb") as lines:
        lines.seek(record.offset)
        return orjson.loads(lines.readline())


def _record(line: bytes, offset: int, where: str, methods: dict[str, Any]) -> Record:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON ({error})") from None
    names = [name for name in Record.__dataclass_fields__ if name not in ("offset", "graded")]
    missing = [name for name in names if name not in row]
    if missing:
        raise ValueError(f"{where}: the keys {missing} are missing")
    if row["status"] not in STATUSES:
        raise ValueError(
            f"{where}: status is {row['status']!r}, must be one of {', '.join(STATUSES)}"
        )
    if row["method"] not in methods:
        raise ValueError(
            f"{where}: method {row['method']!r} is not one of {RUN}'s: {', '.join(methods)}"
        )
    values = {name: row[name] for name in names}
    graded = row["correct"] is not None or row["status"] == "failed"
    return Record(**{**values, "correct": bool(row["correct"]), "graded": graded, "offset": offset})
