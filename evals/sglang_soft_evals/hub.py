"""Questions from a benchmark's own source: a dataset on the Hugging Face hub, or a file inside
sgl-eval."""

import random
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from sglang_soft_evals.benchmarks import Benchmark

_LIVECODEBENCH_FILES = (
    "test.jsonl",
    "test2.jsonl",
    "test3.jsonl",
    "test4.jsonl",
    "test5.jsonl",
)  # release_v5


class Question(NamedTuple):
    id: str
    question: str
    """As it goes into the prompt."""
    answer: str
    """The gold answer; empty where a runner of its own scores the samples."""


def questions_of(benchmark: Benchmark) -> list[Question]:
    """Raises ValueError: a missing field, or a hub that cannot be reached."""
    rows = (
        _bundled(benchmark.source) if benchmark.source.startswith("sgl-eval:") else _hub(benchmark)
    )
    if len(rows) != benchmark.questions:
        print(
            f"note: {benchmark.source} holds {len(rows)} questions, not {benchmark.questions}",
            file=sys.stderr,
        )
    return [convert(benchmark, row, index) for index, row in enumerate(rows)]


def first(row: Mapping[str, Any], names: Iterable[str], where: str) -> Any:
    """The value of the first field that is there. Raises ValueError where none is."""
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise ValueError(
        f"{where} has none of the fields {', '.join(names)}; it has {', '.join(row) or 'no fields'}."
    )


def convert(benchmark: Benchmark, row: Mapping[str, Any], index: int) -> Question:
    """One row of the benchmark's own source as a question. Raises ValueError naming a missing
    field."""
    where = f"{benchmark.source}, row {index}"
    identity = (
        f"{benchmark.name}-{index}"
        if benchmark.id_field is None
        else first(row, (benchmark.id_field,), where)
    )
    question = str(first(row, (benchmark.question_field,), where))
    answer = (
        "" if benchmark.answer_field is None else str(first(row, (benchmark.answer_field,), where))
    )
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
    except (
        Exception
    ) as error:  # the hub's client raises many kinds; each means that there are no questions
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
    """GPQA rows with their choices lettered as sgl-eval does it (shuffled by the global generator,
    seed 42)."""
    from sgl_eval._vendored.nemo_skills.dataset.gpqa.prepare import format_entry

    state = random.getstate()
    random.seed(42)
    try:
        return [{"Record ID": row["Record ID"], **format_entry(row)} for row in rows]
    finally:
        random.setstate(state)
