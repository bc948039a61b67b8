"""The reader of a run directory: `run.json` and `samples.jsonl`.

Prompts and texts stay on disk: a long run has gigabytes of them. A `Record` keeps the place of its
line, and `read_line` fetches the whole line.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from sglang_soft_evals.record import Key, Record, parse

SAMPLES, RUN = "samples.jsonl", "run.json"


@dataclass(slots=True, kw_only=True)
class Run:
    """A run as far as it got."""

    folder: Path
    info: dict[str, Any]
    """run.json as it is."""
    methods: dict[str, dict[str, Any] | None]
    """Name to parameters (None: discrete decoding), in the order of the run file."""
    answers_per_thought: dict[str, int]
    """By method; 1: every answer has a thought of its own."""
    controls: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name to how it was made (`controls.Control.facts`)."""
    groups: dict[tuple[str, str], dict[str, list[Record]]] = field(default_factory=dict)
    """(benchmark, method) -> question -> its records by sample."""
    benchmarks: list[str] = field(default_factory=list)
    torn: bool = False
    """The last line was cut off while it was written; it is not counted."""

    @property
    def expected(self) -> int:
        """Records of one method in a complete run, over all benchmarks."""
        return int(self.info["samples"]) * int(self.info["questions"])

    @property
    def run_controls(self) -> list[str]:
        """The controls that have samples of their own."""
        return [name for name, facts in self.controls.items() if "not_run" not in facts]

    def of(self, benchmark: str, method: str) -> dict[str, list[Record]]:
        """Question -> records; empty if nothing has come yet."""
        return self.groups.get((benchmark, method), {})

    def records(self, method: str) -> list[Record]:
        """All records of a method, over all benchmarks."""
        groups = [self.of(benchmark, method) for benchmark in self.benchmarks]
        return [r for questions in groups for records in questions.values() for r in records]

    def graded(self, benchmark: str) -> bool:
        """Whether every answer has a verdict."""
        groups = [self.of(benchmark, method) for method in (*self.methods, *self.run_controls)]
        return all(r.graded for questions in groups for rs in questions.values() for r in rs)


def read_info(folder: Path) -> dict[str, Any]:
    """`run.json`. Raises ValueError if there is none or it lacks a key."""
    path = folder / RUN
    if not path.is_file():
        raise ValueError(f"{folder} has no {RUN}; it is not the directory of a run.")
    info = orjson.loads(path.read_bytes())
    for key in ("config", "methods", "samples", "questions"):
        if key not in info:
            raise ValueError(f"{path}: the key {key!r} is missing.")
    return info


def load(folder: Path) -> Run:
    """Read a run. Raises ValueError, with file and line, for a line that is not a record of it."""
    info = read_info(folder)
    plain = [method for method in info["methods"] if "control" not in method]
    methods = {method["name"]: method.get("params") for method in plain}
    forks = {method["name"]: method.get("answers_per_thought", 1) for method in plain}
    run = Run(folder=folder, info=info, methods=methods, answers_per_thought=forks)
    run.controls = {m["name"]: m["control"] for m in info["methods"] if "control" in m}
    path = folder / SAMPLES
    records = list(read_records(path)) if path.exists() else []
    for record in sorted(records, key=lambda r: r.sample):
        if record.method not in methods and record.method not in run.controls:
            known = ", ".join([*methods, *run.controls])
            raise ValueError(f"{path}: method {record.method!r} is not one of {RUN}'s: {known}.")
        questions = run.groups.setdefault((record.benchmark, record.method), {})
        questions.setdefault(record.question, []).append(record)
    run.benchmarks = list(dict.fromkeys(record.benchmark for record in records))
    run.torn = path.exists() and whole_size(path) < path.stat().st_size
    return run


def read_records(path: Path) -> Iterator[Record]:
    """Every whole line of samples.jsonl. Raises ValueError naming the line that is wrong."""
    seen: set[Key] = set()
    for number, (offset, line) in enumerate(read_lines(path), 1):
        try:
            record = parse(line, offset)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}.") from None
        if record.key in seen:
            raise ValueError(f"{path}, line {number}: {record.key} occurs twice.")
        seen.add(record.key)
        yield record


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(offset in bytes, line) of every line that ends; a torn last line is left out."""
    offset = 0
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield offset, line
            offset += len(line)


def read_line(folder: Path, record: Record) -> dict[str, Any]:
    """The whole line of a record, with prompt, reasoning and text."""
    with (folder / SAMPLES).open("rb") as lines:
        lines.seek(record.offset)
        return orjson.loads(lines.readline())


def whole_size(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        while end:
            start = max(0, end - (1 << 16))
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0
