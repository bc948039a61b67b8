"""The benchmarks: one row each. A row says where the questions come from, how they are put and who
grades them."""

from typing import NamedTuple


class Benchmark(NamedTuple):
    name: str
    source: str
    """`generated`; `sgl-eval:NAME`, a file inside the sgl-eval package; else a dataset on the
    Hugging Face hub."""
    config: str | None
    """Configuration of the hub dataset."""
    split: str
    prompt: str
    """A key of `PROMPTS`, or the name of one of sgl-eval's prompts."""
    answer: str
    """What an answer looks like: `boxed`, `letter`, `code`, `integer`."""
    grader: str
    """A key of `graders.GRADERS`; for code, whose runner scores the exported samples."""
    licence: str
    questions: int
    id_field: str | None
    """None: questions are numbered."""
    question_field: str
    answer_field: str | None


PROMPTS = {
    "plain": "{problem}",
    "python-function": "Complete the following Python function. Give the whole function, with its imports, in one "
    "```python code block.\n\n```python\n{problem}\n```",
    "python-task": "Solve the following task in Python. Give the whole solution in one ```python code block.\n\n"
    "{problem}",
    "python-program": "Solve the following programming problem in Python. Give the whole program in one ```python code "
    "block. If no starter code is given, read from standard input and write to standard output.\n\n{problem}",
}
"""Prompts of our own; the others are sgl-eval's, which has them from NeMo-Skills."""

_ROWS = (
    Benchmark("arith", "generated", None, "test", "plain", "integer", "arith", "Apache-2.0", 500,
              "id", "question", "answer"),
    Benchmark("math500", "HuggingFaceH4/MATH-500", None, "test", "math", "boxed", "math", "MIT", 500,
              "unique_id", "problem", "answer"),
    Benchmark("aime2024", "sgl-eval:aime24", None, "test", "math", "boxed", "math", "problems: MAA", 30,
              "id", "problem", "expected_answer"),
    Benchmark("aime2025", "sgl-eval:aime25", None, "test", "math", "boxed", "math", "problems: MAA", 30,
              "id", "problem", "expected_answer"),
    Benchmark("amc23", "math-ai/amc23", None, "test", "math", "boxed", "math", "problems: MAA", 40,
              "id", "question", "answer"),
    Benchmark("gsm8k", "openai/gsm8k", "main", "test", "math", "boxed", "math", "MIT", 1319,
              None, "question", "answer"),
    Benchmark("gpqa_diamond", "Idavidrein/gpqa", "gpqa_diamond", "train", "mcq-4choices", "letter", "mcq",
              "CC-BY-4.0 (gated)", 198, "Record ID", "problem", "expected_answer"),
    Benchmark("humaneval", "evalplus/humanevalplus", None, "test", "python-function", "code", "evalplus",
              "Apache-2.0 (HumanEval: MIT)", 164, "task_id", "prompt", None),
    Benchmark("mbpp", "evalplus/mbppplus", None, "test", "python-task", "code", "evalplus",
              "Apache-2.0 (MBPP: CC-BY-4.0)", 378, "task_id", "prompt", None),
    Benchmark("livecodebench", "livecodebench/code_generation_lite", None, "2024-08-01..2025-02-01", "python-program",
              "code", "livecodebench", "CC (see the dataset)", 279, "question_id", "question_content", None),
)  # fmt: skip

BENCHMARKS = {row.name: row for row in _ROWS}


def get(name: str) -> Benchmark:
    """Raises ValueError for a name that is not in the table."""
    if name not in BENCHMARKS:
        raise ValueError(f"benchmark must be one of {', '.join(BENCHMARKS)}; got {name!r}.")
    return BENCHMARKS[name]


def template(prompt: str) -> str:
    """The text of a prompt, with `{problem}` where the question goes. Raises ValueError for an
    unknown name."""
    if prompt in PROMPTS:
        return PROMPTS[prompt]
    import yaml
    from sgl_eval.evals._prompts import vendored_prompt

    path = vendored_prompt(prompt)
    if not path.exists():
        raise ValueError(
            f"prompt must be one of {', '.join(PROMPTS)} or a prompt of sgl-eval; got {prompt!r}."
        )
    return yaml.safe_load(path.read_text())["user"].replace("{examples}", "")


def render(prompt: str, problem: str) -> str:
    """The user message that puts `problem`."""
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
