"""Questions of a benchmark: generated, from the hub, from a file inside sgl-eval, or from a local
file.

Local files are JSON in the format of the Soft Thinking authors' scripts, a list of `{"prompt":
[{"from": "user", "value": ...}], "final_answer": ...}`, or JSONL with `question` and `answer` (also
`problem`, `expected_answer`, `final_answer`). `id` is optional in both.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from sglang_soft_evals import arith, hub
from sglang_soft_evals.benchmarks import Benchmark
from sglang_soft_evals.hub import Question, first


def load(
    benchmark: Benchmark, data: Path | None = None, count: int | None = None, seed: int = 0
) -> list[Question]:
    """The questions of a run.

    Args:
        benchmark: a row of the table.
        data: a local file to read instead of the benchmark's own source.
        count: only the first `count`; for `arith`, how many to draw.
        seed: what `arith` is drawn with.

    Raises:
        ValueError: unreadable data, a missing field or a repeated id; names file, item and field.
    """
    if data is not None:
        questions = read_file(data, benchmark.name)
    elif benchmark.source == "generated":
        drawn = arith.draw(benchmark.questions if count is None else count, seed)
        questions = [
            Question(p.expression, f"What is {p.expression}?", str(p.answer)) for p in drawn
        ]
    else:
        questions = hub.questions_of(benchmark)
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise ValueError(f"{data or benchmark.source}: id {question.id!r} occurs twice.")
        seen.add(question.id)
    if not questions:
        raise ValueError(f"{data or benchmark.source} holds no questions.")
    return questions[:count]


def read_file(path: Path, name: str) -> list[Question]:
    """Questions of a local JSON or JSONL file. Without ids they are called `name-0`, `name-1` and
    so on."""
    if not path.is_file():
        raise ValueError(f"data: there is no file {path}.")
    raw = path.read_bytes()
    try:
        if path.suffix == ".jsonl":
            rows = [orjson.loads(line) for line in raw.splitlines() if line.strip()]
        else:
            rows = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        kind = "JSONL" if path.suffix == ".jsonl" else "JSON"
        raise ValueError(f"data: {path} is not valid {kind}: {error}.") from error
    if not isinstance(rows, list):
        raise ValueError(f"data: {path} must hold a list of questions; got {type(rows).__name__}.")
    return [
        _local(row, f"{path}, item {index}", f"{name}-{index}") for index, row in enumerate(rows)
    ]


def _local(row: Any, where: str, default_id: str) -> Question:
    if not isinstance(row, Mapping):
        raise ValueError(f"{where} must be an object; got {type(row).__name__}.")
    if "prompt" in row and not isinstance(row["prompt"], str):
        try:
            question = next(turn["value"] for turn in row["prompt"] if turn["from"] == "user")
        except (StopIteration, KeyError, TypeError) as error:
            turn = '{"from": "user", "value": ...}'
            raise ValueError(f"{where}: prompt must hold {turn}.") from error
    else:
        question = first(row, ("question", "problem", "prompt"), where)
    answer = first(row, ("final_answer", "answer", "expected_answer"), where)
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"{where}: the question must be a text, not empty; got {question!r}.")
    text = answer if isinstance(answer, str) else orjson.dumps(answer).decode()
    return Question(str(row.get("id", row.get("task_id", default_id))), question, text)
