import json
import os
import runpy
from pathlib import Path

import pytest
from sglang_soft_evals import agreement, benchmarks, check, graders, variants

DATA = "SGLANG_SOFT_EVAL_DATA"


@pytest.mark.parametrize(
    ("grader", "text", "gold", "expected"),
    [
        ("arith", "\nAnswer: 1462", "1462", (True, "1462")),
        ("arith", "Answer: 34*43=1462, no: 1463", "1462", (False, "1463")),
        ("arith", "no idea", "1462", (False, None)),
        ("arith", "The answer is 2125.", "2,125", (True, "2125")),
        ("arith", "\\boxed{1{,}462} or 3", "1462", (True, "1462")),
        ("arith", "It is 1462.0, I think.", "1462", (True, "1462")),
        (
            "math",
            "so \\boxed{1} and then \\boxed{\\frac{6}{8}}.",
            "\\frac34",
            (True, "\\frac{6}{8}"),
        ),
        ("math", "the answer is 5", "5", (False, None)),
        ("math", "\\boxed{\u22121\u202f234}", "-1234", (True, "\u22121\u202f234")),
        ("math", "\\boxed{1\\,234}", "1234", (True, "1\\,234")),
        ("math", "\\boxed{**1234**}", "1234", (True, "**1234**")),
        ("math", "\\boxed{5", "5", (False, None)),
        ("mcq", "Answer: C", "C", (True, "C")),
        ("mcq", "Of B and C it is **Answer:** B", "C", (False, "B")),
        ("mcq", "I cannot say", "C", (False, None)),
        ("livecodebench", "no code", "", (None, None)),
    ],
)
def test_grader(grader, text, gold, expected):
    assert graders.grade(grader, text, gold) == expected


STATED = [
    ("1,462", "1462"), ("1462.", "1462"), ("**1462**", "1462"), ("$1462$", "1462"),
    ("\\(1462\\)", "1462"), ("$1{,}462$", "1462"), ("$1\\,462$", "1462"), ("1\u202f462", "1462"),
    ("1\u00a0462", "1462"), ("12,345,678", "12345678"), ("-1,462", "-1462"), ("\u22125", "-5"),
    ("$1,462.50", "1462.5"), ("1,4620", "4620"), ("43, 34", "34"), ("1,2,3", "3"), ("(5)", "5"),
    ("1500-38 = 1462", "1462"), ("10-5", "5"), ("x=-3", "-3"), ("Answer: 1 462", "1462"),
    ("the answer is 1462 (43*34)", "1462"), ("**Answer:** 1462 apples in 3 boxes", "1462"),
    ("Answer:\n\n$$-12$$", "-12"), ("Answer: \\boxed{1462}", "1462"), ("Answer: x = 5", "5"),
    ("Answer: 34*43=1462, no: 1463", "1463"), ("Answer: 43*34 = 1,462", "1462"),
    ("The answer = 7, not 9", "7"), ("1462 is \\boxed{1,462}; 3 steps", "1462"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "answer"), STATED)
def test_spellings_of_a_number(text, answer):
    """Alike in the evals and in the task for lm-eval."""
    assert graders.grade("arith", text, answer).answer == answer
    file = Path(graders.__file__).parents[1] / "clients" / "arith.py"
    task = runpy.run_path(str(file))["process_results"]
    assert task({"answer": answer}, [text]) == {"exact_match": 1.0}
    assert task({"answer": answer + "1"}, [text]) == {"exact_match": 0.0}


CODE = "def f():\n    return"


@pytest.mark.parametrize(
    "text",
    [
        f"```python\nbad\n```\n```python\n{CODE}\n```",
        f"```python3\n{CODE}\n```",
        f"```Python\n{CODE}\n```\nDone.",
        f"``` python\n{CODE}\n```",
        f"```py\n{CODE}\n```",
        f"```python title=x\n{CODE}\n```",
        f"```\n{CODE}\n```",
        f"````python\n{CODE}\n````",
        f"~~~python\n{CODE}\n~~~",
        f"```{{.python}}\n{CODE}\n```",
        f"```PYTHON3\n{CODE}\n```",
        f"```python\r{CODE}\r```".replace("\n", "\r"),
        f"```ipython\n{CODE}\n```",
        f"   ```python\n{CODE}\n   ```",
        f"The solution: ```python\n{CODE}\n```",
        f"```python\n{CODE}```",
        f"```python\n{CODE}\n\n```".replace("\n", "\r\n"),
        f"```python\n{CODE}",  # truncated
        f"```python\nbad\n```\nand\n```python\n{CODE}\n",
        f"```python\n{CODE}\n```\nRun it:\n```bash\npython f.py\n```\nIt prints:",
        f"```json\n{{}}\n```\nis the input of\n```python\n{CODE}\n```",
        f"```python\n{CODE}\n```\nAnd again: ```python\n",
    ],
)
def test_the_last_block_of_python_is_the_code(text):
    for grader in ("evalplus", "livecodebench"):
        assert graders.grade(grader, text, "") == (None, CODE)


@pytest.mark.parametrize("text", ["", "`f()`", "```", "```python\n\n```", "```json\n{}\n```"])
def test_a_text_without_python_has_no_code(text):
    assert graders.grade("evalplus", text, "") == (None, None)


def test_code_is_not_executed(tmp_path):
    witness = tmp_path / "witness"
    text = f"```python\nopen({str(witness)!r}, 'w')\n```"
    for grader in ("evalplus", "livecodebench"):
        assert "witness" in graders.grade(grader, text, "").answer
    assert not witness.exists()


def test_check_finds_nothing_in_good_data_and_the_fault_in_bad(tmp_path):
    good = [
        {"question": f"q{i}", "answer": answer}
        for i, answer in enumerate(["7", "-1", "2,125", "0.5", "x^2"])
    ]
    file = tmp_path / "math500.jsonl"
    file.write_text("\n".join(map(json.dumps, good)))
    items, graded, findings = check.check(file, check.guess(file))
    assert (items, graded, findings) == (5, 4 * 6 + 3, [])
    # Values with an uncertainty are beyond the grader: the item is printed, not hidden.
    file.write_text(json.dumps({"id": "odd", "question": "q", "answer": "}{"}))
    text, clean = check.report(file, benchmarks.get("math500"))
    assert not clean and "odd: gold graded wrong" in text


def test_check_compares_gold_answers_with_the_other_copy(tmp_path):
    from sglang_soft_evals import loading

    theirs = loading.load(benchmarks.get("aime2024"))
    rows = [{"id": q.id, "question": q.question, "answer": q.answer} for q in theirs]
    rows[4]["answer"] = "998"
    file = tmp_path / "aime2024.json"
    file.write_text(json.dumps(rows))
    _, _, findings = check.check(file, check.guess(file))
    assert findings == [(theirs[4].id, "gold differs from sgl-eval", "998", theirs[4].answer)]


def test_a_file_named_after_no_benchmark_needs_one(tmp_path):
    message = r"mine.json is not named after a benchmark; give --benchmark, one of arith"
    with pytest.raises(ValueError, match=message):
        check.guess(tmp_path / "mine.json")
    with pytest.raises(ValueError, match="humaneval is scored by evalplus"):
        check.check(tmp_path / "humaneval.json", benchmarks.get("humaneval"))


@pytest.mark.skipif(
    DATA not in os.environ, reason=f"{DATA} does not name a folder with the authors' question files"
)
@pytest.mark.parametrize(("name", "items"), [("aime2024", 30), ("amc23", 40), ("gsm8k", 1319)])
def test_the_authors_files(name, items):
    found, graded, findings = check.check(
        Path(os.environ[DATA]) / f"{name}.json", benchmarks.get(name)
    )
    assert (found, graded) == (items, 6 * items)
    # Two AIME problems are worded otherwise in sgl-eval's copy.
    assert [(f.question, f.kind) for f in findings] == (
        [("aime2024-15", "not in sgl-eval's copy"), ("aime2024-16", "not in sgl-eval's copy")]
        if name == "aime2024"
        else []
    )


def test_there_are_enough_variants_and_both_verdicts_in_every_class():
    generated = variants.generate()
    assert len({(v.gold, v.text) for v in generated}) >= 300
    for kind in {v.kind for v in generated}:
        assert {v.equal for v in generated if v.kind == kind} == {True, False}


@pytest.mark.slow
def test_every_error_of_a_grader_is_known(verdicts):
    """The classes that a grader gets wrong, with (variants refused, variants accepted) in error."""
    wrong: dict[str, dict[str, tuple[int, int]]] = {name: {} for name in agreement.GRADERS}
    for v in verdicts:
        for name, said in v.said.items():
            if said != v.variant.equal:
                refused, accepted = wrong[name].get(v.variant.kind, (0, 0))
                wrong[name][v.variant.kind] = (
                    refused + v.variant.equal,
                    accepted + (not v.variant.equal),
                )
    assert wrong == {
        "math-verify": {
            "integer": (4, 0),
            "thousands": (4, 0),
            "unit": (3, 0),
            "decimal": (3, 0),
            "rounded": (0, 4),
        },
        "sgl-eval": {"rounded": (0, 4)},
    }
    disagree = {v.variant.kind for v in verdicts if len(set(v.said.values())) > 1}
    assert disagree == {"integer", "thousands", "unit", "decimal"}


@pytest.mark.slow
def test_the_printed_table_names_every_error(verdicts):
    rows, errors = agreement.summary(verdicts), agreement.errors(verdicts)
    for name in agreement.GRADERS:
        missed = sum(int(r["equal"]) + int(r["different"]) - int(r[f"{name} right"]) for r in rows)
        assert missed == sum(line.startswith(name) for line in errors) > 0
    assert "math-verify: unit: gold `5`, variant `5\\%` refused" in errors
