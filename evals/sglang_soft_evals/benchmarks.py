"""The benchmarks, one row each: the source of the questions, the prompt and the grader."""

from functools import cache
from typing import Any, NamedTuple


class Benchmark(NamedTuple):
    name: str
    source: str
    """`generated`; `sgl-eval:NAME`, a file inside the sgl-eval package; else a dataset on the
    Hugging Face hub."""
    questions: int
    licence: str
    prompt: str
    """A key of `PROMPTS`, or the name of one of sgl-eval's prompts."""
    answer: str
    """What an answer looks like: `boxed`, `letter`, `code`, `integer`."""
    grader: str
    """A key of `graders.GRADERS`; for code, the runner that scores the exported samples."""
    config: str | None = None
    """Configuration of the hub dataset."""
    split: str = "test"
    id_field: str | None = "id"
    """None: questions are numbered."""
    question_field: str = "problem"
    answer_field: str | None = "answer"


_CODE_BLOCK = "in one ```python code block"
PROMPTS = {
    "plain": "{problem}",
    "python-function": "Complete the following Python function. Give the whole function, with its "
    f"imports, {_CODE_BLOCK}.\n\n```python\n{{problem}}\n```",
    "python-task": "Solve the following task in Python. Give the whole solution "
    f"{_CODE_BLOCK}.\n\n{{problem}}",
    "python-program": "Solve the following programming problem in Python. Give the whole program "
    f"{_CODE_BLOCK}. If no starter code is given, read from standard input and write to standard "
    "output.\n\n{problem}",
}
"""Our own prompts; the others are sgl-eval's, which has them from NeMo-Skills."""


def _math(name: str, source: str, questions: int, licence: str, **more: Any) -> Benchmark:
    return Benchmark(name, source, questions, licence, "math", "boxed", "math", **more)


def _code(name: str, questions: int, licence: str, prompt: str, **more: Any) -> Benchmark:
    fields = {"id_field": "task_id", "question_field": "prompt", "answer_field": None} | more
    source = fields.pop("source", f"evalplus/{name}plus")
    grader = fields.pop("grader", "evalplus")
    return Benchmark(name, source, questions, licence, prompt, "code", grader, **fields)


_ROWS = (
    Benchmark(
        name="arith",
        source="generated",
        questions=500,
        licence="Apache-2.0",
        prompt="plain",
        answer="integer",
        grader="arith",
        question_field="question",
    ),
    _math("math500", "HuggingFaceH4/MATH-500", 500, "MIT", id_field="unique_id"),
    _math("aime2024", "sgl-eval:aime24", 30, "problems: MAA", answer_field="expected_answer"),
    _math("aime2025", "sgl-eval:aime25", 30, "problems: MAA", answer_field="expected_answer"),
    _math("amc23", "math-ai/amc23", 40, "problems: MAA", question_field="question"),
    _math(
        "gsm8k",
        "openai/gsm8k",
        1319,
        "MIT",
        config="main",
        id_field=None,
        question_field="question",
    ),
    Benchmark(
        name="gpqa_diamond",
        source="Idavidrein/gpqa",
        questions=198,
        licence="CC-BY-4.0 (gated)",
        prompt="mcq-4choices",
        answer="letter",
        grader="mcq",
        config="gpqa_diamond",
        split="train",
        id_field="Record ID",
        answer_field="expected_answer",
    ),
    _code("humaneval", 164, "Apache-2.0 (HumanEval: MIT)", "python-function"),
    _code("mbpp", 378, "Apache-2.0 (MBPP: CC-BY-4.0)", "python-task"),
    _code(
        "livecodebench",
        279,
        "CC (see the dataset)",
        "python-program",
        source="livecodebench/code_generation_lite",
        grader="livecodebench",
        split="2024-08-01..2025-02-01",
        id_field="question_id",
        question_field="question_content",
    ),
)

BENCHMARKS = {row.name: row for row in _ROWS}


def get(name: str) -> Benchmark:
    """Raises ValueError for a name that is not in the table."""
    if name not in BENCHMARKS:
        raise ValueError(f"benchmark must be one of {', '.join(BENCHMARKS)}; got {name!r}.")
    return BENCHMARKS[name]


@cache
def template(prompt: str) -> str:
    """The text of a prompt, with `{problem}` for the question. Raises ValueError for an unknown
    name."""
    if prompt in PROMPTS:
        return PROMPTS[prompt]
    import yaml
    from sgl_eval import VENDORED_NS_ROOT

    path = VENDORED_NS_ROOT / "prompts" / f"{prompt}.yaml"
    if not path.exists():
        known = ", ".join(PROMPTS)
        raise ValueError(f"prompt must be one of {known} or a prompt of sgl-eval; got {prompt!r}.")
    return yaml.safe_load(path.read_text())["user"].replace("{examples}", "")


def render(prompt: str, problem: str) -> str:
    """The user message with the question `problem`."""
    return template(prompt).replace("{{", "{").replace("}}", "}").replace("{problem}", problem, 1)


def table() -> list[dict[str, str]]:
    """The table as text, for the command line and the docs."""
    return [
        {
            "name": b.name,
            "questions": str(b.questions),
            "source": b.source if b.config is None else f"{b.source} ({b.config})",
            "split": b.split,
            "prompt": b.prompt,
            "answer": b.answer,
            "grader": b.grader,
            "licence": b.licence,
        }
        for b in BENCHMARKS.values()
    ]
