"""Questions of a benchmark: generated, from the hub, from a file inside sgl-eval, or from a local file.

Local files are JSON in the format of the Soft Thinking authors' scripts, a list of
`{"prompt": [{"from": "user", "value": ...}], "final_answer": ...}`, or JSONL with `question` and `answer` (also
`problem`, `expected_answer`, `final_answer`). `id` is optional in both.
"""

import random
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sglang_soft_evals import arith
from sglang_soft_evals.benchmarks import Benchmark

_LIVECODEBENCH_FILES = ("test.jsonl", "test2.jsonl", "test3.jsonl", "test4.jsonl", "test5.jsonl")  # release_v5


class Question(NamedTuple):
    id: str
    question: str
    """As it goes into the prompt."""
    answer: str
    """The gold answer; empty where a runner of its own scores the samples."""


def load(benchmark: Benchmark, data: Path | None = None, count: int | None = None, seed: int = 0) -> list[Question]:
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
        questions = [Question(p.expression, f"What is {p.expression}?", str(p.answer)) for p in drawn]
    elif benchmark.source.startswith("sgl-eval:"):
        questions = [convert(benchmark, row, i) for i, row in enumerate(_bundled(benchmark.source))]
    else:
        questions = [convert(benchmark, row, i) for i, row in enumerate(_hub(benchmark))]
        if len(questions) != benchmark.questions:
            print(f"note: {benchmark.source} holds {len(questions)} questions, not {benchmark.questions}",
                  file=sys.stderr)  # fmt: skip
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise ValueError(f"{data or benchmark.source}: id {question.id!r} occurs twice.")
        seen.add(question.id)
    if not questions:
        raise ValueError(f"{data or benchmark.source} holds no questions.")
    return questions[:count]


def read_file(path: Path, name: str) -> list[Question]:
    """Questions of a local JSON or JSONL file; without ids they are called `name-0`, `name-1`, ..."""
    if not path.is_file():
        raise ValueError(f"data: there is no file {path}.")
    raw = path.read_bytes()
    try:
        if path.suffix == ".jsonl":
            rows = [orjson.loads(line) for line in raw.splitlines() if line.strip()]
        else:
            rows = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"data: {path} is not valid JSON{'L' * (path.suffix == '.jsonl')}: {error}.") from error
    if not isinstance(rows, list):
        raise ValueError(f"data: {path} must hold a list of questions; got {type(rows).__name__}.")
    return [_local(row, f"{path}, item {index}", f"{name}-{index}") for index, row in enumerate(rows)]


def _local(row: Any, where: str, default_id: str) -> Question:
    if not isinstance(row, Mapping):
        raise ValueError(f"{where} must be an object; got {type(row).__name__}.")
    if "prompt" in row and not isinstance(row["prompt"], str):
        try:
            question = next(turn["value"] for turn in row["prompt"] if turn["from"] == "user")
        except (StopIteration, KeyError, TypeError) as error:
            raise ValueError(f'{where}: prompt must hold {{"from": "user", "value": ...}}.') from error
    else:
        question = _first(row, ("question", "problem", "prompt"), where)
    answer = _first(row, ("final_answer", "answer", "expected_answer"), where)
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"{where}: the question must be a text that is not empty; got {question!r}.")
    text = answer if isinstance(answer, str) else orjson.dumps(answer).decode()
    return Question(str(row.get("id", row.get("task_id", default_id))), question, text)


def _first(row: Mapping[str, Any], names: Iterable[str], where: str) -> Any:
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise ValueError(f"{where} has none of the fields {', '.join(names)}; it has {', '.join(row) or 'no fields'}.")


def convert(benchmark: Benchmark, row: Mapping[str, Any], index: int) -> Question:
    """One row of the benchmark's own source as a question. Raises ValueError naming a missing field."""
    where = f"{benchmark.source}, row {index}"
    identity = f"{benchmark.name}-{index}" if benchmark.id_field is None else _first(row, (benchmark.id_field,), where)
    question = str(_first(row, (benchmark.question_field,), where))
    answer = "" if benchmark.answer_field is None else str(_first(row, (benchmark.answer_field,), where))
    if benchmark.name == "gsm8k":
        answer = answer.rsplit("####", 1)[-1].strip().replace(",", "")
    if benchmark.name == "mbpp":
        identity = f"Mbpp/{str(identity).removeprefix('Mbpp/')}"  # as evalplus names them
        question += "\n\nThe solution has to pass:\n" + "\n".join(row.get("test_list") or ())
    if benchmark.name == "livecodebench" and row.get("starter_code"):
        question += f"\n\nStarter code:\n```python\n{row['starter_code']}\n```"
    return Question(str(identity), question, answer)


def _bundled(source: str) -> list[dict[str, Any]]:
    from sgl_eval import VENDORED_NS_ROOT

    path = VENDORED_NS_ROOT / "dataset" / source.removeprefix("sgl-eval:") / "test.txt"
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def _hub(benchmark: Benchmark) -> list[Mapping[str, Any]]:
    try:
        return _from_hub(benchmark)
    except Exception as error:  # the hub's client raises many kinds; each means that there are no questions
        raise ValueError(
            f"{benchmark.source} cannot be loaded from the Hugging Face hub ({type(error).__name__}: {error}); "
            "give a local file with --data."
        ) from error


def _from_hub(benchmark: Benchmark) -> list[Mapping[str, Any]]:
    import datasets

    if benchmark.name == "livecodebench":
        files = [f"hf://datasets/{benchmark.source}/{name}" for name in _LIVECODEBENCH_FILES]
        rows = datasets.load_dataset("json", data_files=files, split="train")
        first, last = benchmark.split.split("..")
        return [row for row in rows if first <= str(row["contest_date"])[:10] < last]
    rows = list(datasets.load_dataset(benchmark.source, benchmark.config, split=benchmark.split))
    return gpqa_rows(rows) if benchmark.name == "gpqa_diamond" else rows


def gpqa_rows(rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """GPQA rows with their choices lettered as sgl-eval does it (shuffled by the global generator, seed 42)."""
    from sgl_eval._vendored.nemo_skills.dataset.gpqa.prepare import format_entry

    state = random.getstate()
    random.seed(42)
    try:
        return [{"Record ID": row["Record ID"], **format_entry(row)} for row in rows]
    finally:
        random.setstate(state)
