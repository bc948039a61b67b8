"""Questions from a benchmark's own source: a dataset on the Hugging Face hub, or a file inside
sgl-eval."""

import random
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from sglang_soft_evals.benchmarks import Benchmark

_LIVECODEBENCH_FILES = ("test", "test2", "test3", "test4", "test5")
"""Of release_v5; all end in `.jsonl`."""


class Question(NamedTuple):
    id: str
    question: str
    """As it stands in the prompt."""
    answer: str
    """The gold answer; empty if another program scores the samples."""


def questions_of(benchmark: Benchmark) -> list[Question]:
    """Raises ValueError: a missing field, or a hub that cannot be reached."""
    source = benchmark.source
    rows = _bundled(source) if source.startswith("sgl-eval:") else _hub(benchmark)
    if len(rows) != benchmark.questions:
        note = f"note: {source} holds {len(rows)} questions, not {benchmark.questions}"
        print(note, file=sys.stderr)
    return [convert(benchmark, row, index) for index, row in enumerate(rows)]


def first(row: Mapping[str, Any], names: Iterable[str], where: str) -> Any:
    """The value of the first field that is there. Raises ValueError if none is."""
    for name in names:
        if row.get(name) is not None:
            return row[name]
    found = ", ".join(row) or "no fields"
    raise ValueError(f"{where} has none of the fields {', '.join(names)}; it has {found}.")


def convert(benchmark: Benchmark, row: Mapping[str, Any], index: int) -> Question:
    """One row of the benchmark's own source as a question. Raises ValueError naming a missing
    field."""
    where = f"{benchmark.source}, row {index}"

    def field(name: str) -> str:
        return str(first(row, (name,), where))

    numbered = f"{benchmark.name}-{index}"
    identity = numbered if benchmark.id_field is None else field(benchmark.id_field)
    question = field(benchmark.question_field)
    answer = "" if benchmark.answer_field is None else field(benchmark.answer_field)
    if benchmark.name == "gsm8k":
        answer = answer.rsplit("####", 1)[-1].strip().replace(",", "")
    if benchmark.name == "mbpp":
        identity = f"Mbpp/{identity.removeprefix('Mbpp/')}"  # as evalplus names them
        question += "\n\nThe solution has to pass:\n" + "\n".join(row.get("test_list") or ())
    if benchmark.name == "livecodebench" and row.get("starter_code"):
        question += f"\n\nStarter code:\n```python\n{row['starter_code']}\n```"
    return Question(identity, question, answer)


def _bundled(source: str) -> list[dict[str, Any]]:
    from sgl_eval import VENDORED_NS_ROOT

    path = VENDORED_NS_ROOT / "dataset" / source.removeprefix("sgl-eval:") / "test.txt"
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def _hub(benchmark: Benchmark) -> list[Mapping[str, Any]]:
    try:
        return _from_hub(benchmark)
    except Exception as error:  # the hub's client raises many kinds
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{benchmark.source} cannot be loaded from the Hugging Face hub ({reason}); give a "
            "local file with --data."
        ) from error


def _from_hub(benchmark: Benchmark) -> list[Mapping[str, Any]]:
    import datasets

    if benchmark.name == "livecodebench":
        files = [f"hf://datasets/{benchmark.source}/{f}.jsonl" for f in _LIVECODEBENCH_FILES]
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
