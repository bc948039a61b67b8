import json
import random

import pytest
from sglang_soft_evals import arith, benchmarks, hub, loading

from launch.toy_model import task

AUTHORS = [
    {"prompt": [{"from": "user", "value": "What is $1+1$?"}], "final_answer": "2"},
    {"prompt": [{"from": "user", "value": "Half of one?"}], "final_answer": "\\frac{1}{2}"},
]


def test_arith_holds_out_what_the_training_code_holds_out():
    rng = random.Random(0)
    for _ in range(5000):
        terms = tuple(rng.randint(10, 99) for _ in range(rng.choice((2, 2, 3))))
        operator = rng.choice("*+") if len(terms) == 2 else "+"
        mine, theirs = arith.Problem(operator, terms), task.Problem(operator, terms)
        assert mine.held_out == (theirs.split == "test")
        assert (mine.expression, mine.answer) == (theirs.expression, theirs.answer)


def test_arith_is_held_out_distinct_and_fixed_by_its_seed():
    problems = arith.draw(500, seed=0)
    assert len({p.expression for p in problems}) == 500
    assert all(p.held_out for p in problems)
    assert sum(p.operator == "*" for p in problems) == 250
    assert not any(term % 10 == 0 for p in problems if p.operator == "*" for term in p.terms)
    assert problems == arith.draw(500, seed=0)
    assert problems != arith.draw(500, seed=1)
    assert problems[:100] == arith.draw(100, seed=0)


def test_arith_can_be_drawn_to_its_bound_and_says_so_beyond():
    assert len(arith.draw(arith.LARGEST, seed=3)) == arith.LARGEST
    message = rf"questions must be in \[1, {arith.LARGEST}\] for arith; got 5000"
    with pytest.raises(ValueError, match=message):
        arith.draw(5000, seed=0)


@pytest.mark.parametrize(
    "name", [name for name, row in benchmarks.BENCHMARKS.items() if row.source != "generated"]
)
def test_every_benchmark_loads_from_the_authors_format(tmp_path, name):
    file = tmp_path / f"{name}.json"
    file.write_text(json.dumps(AUTHORS))
    questions = loading.load(benchmarks.get(name), file)
    assert questions == [
        loading.Question(f"{name}-0", "What is $1+1$?", "2"),
        loading.Question(f"{name}-1", "Half of one?", "\\frac{1}{2}"),
    ]
    assert loading.load(benchmarks.get(name), file, count=1) == questions[:1]


def test_jsonl_with_ids_and_other_names_of_the_fields(tmp_path):
    file = tmp_path / "data.jsonl"
    rows = [
        {"id": "a", "question": "1?", "answer": 1},
        {"id": "b", "problem": "2?", "expected_answer": "2"},
    ]
    file.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert loading.read_file(file, "x") == [
        loading.Question("a", "1?", "1"),
        loading.Question("b", "2?", "2"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ('{"question": "1?"}', "must hold a list of questions; got dict"),
        (
            '[{"question": "1?"}]',
            "item 0 has none of the fields final_answer, answer, expected_answer; it has question",
        ),
        (
            '[{"prompt": [{"from": "gpt", "value": "x"}], "final_answer": "1"}]',
            'must hold {"from": "user"',
        ),
        (
            '[{"question": " ", "answer": "1"}]',
            "item 0: the question must be a text, not empty",
        ),
        ("[3]", "item 0 must be an object; got int"),
        ("[]", "holds no questions"),
        (
            '[{"id": 1, "question": "a", "answer": "1"}, '
            '{"id": 1, "question": "b", "answer": "1"}]',
            "'1' occurs twice",
        ),
    ],
)
def test_bad_data_is_named(tmp_path, content, message):
    file = tmp_path / "data.json"
    file.write_text(content)
    with pytest.raises(ValueError) as error:
        loading.load(benchmarks.get("gsm8k"), file)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["aime2024", "aime2025"])
def test_aime_comes_with_sgl_eval(name):
    questions = loading.load(benchmarks.get(name))
    assert len(questions) == 30 == benchmarks.get(name).questions
    assert all(0 <= int(q.answer) <= 999 for q in questions)


def test_rows_of_the_hub_become_questions():
    def convert(name, row):
        return hub.convert(benchmarks.get(name), row, 3)

    assert convert("gsm8k", {"question": "q", "answer": "2*3=6\n#### 1,234"}) == (
        "gsm8k-3",
        "q",
        "1234",
    )
    assert convert("math500", {"unique_id": "t/1", "problem": "p", "answer": "\\pi"}) == (
        "t/1",
        "p",
        "\\pi",
    )
    mbpp = convert("mbpp", {"task_id": 2, "prompt": "Write f.", "test_list": ["assert f(1) == 1"]})
    assert (mbpp.id, mbpp.answer) == ("Mbpp/2", "") and mbpp.question.endswith("assert f(1) == 1")
    live = convert(
        "livecodebench", {"question_id": "abc", "question_content": "c", "starter_code": "class S:"}
    )
    assert live.id == "abc" and "class S:" in live.question
    with pytest.raises(ValueError, match="openai/gsm8k, row 3 has none of the fields question"):
        convert("gsm8k", {"answer": "1"})


def gpqa_row(index):
    """One row of GPQA, as far as sgl-eval reads it."""
    row = {"Record ID": f"r{index}", "Question": f"Which {index}?", "Correct Answer": "right"}
    row |= {f"Incorrect Answer {k}": f"wrong {k}" for k in (1, 2, 3)}
    return row | {"Explanation": "", "Subdomain": "", "Writer's Difficulty Estimate": None}


HUB = [name for name, row in benchmarks.BENCHMARKS.items() if "/" in row.source]


@pytest.mark.parametrize("name", HUB)
def test_the_hub_is_asked_for_what_the_table_says(monkeypatch, name):
    row, asked = benchmarks.get(name), []

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        named = {row.id_field: "x", row.question_field: "q", row.answer_field: "a"}
        named = {field: value for field, value in named.items() if field is not None}
        return [gpqa_row(0) | {"Question": "q", "contest_date": "2024-12-01T00:00:00"} | named]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    (question,) = loading.load(row)
    assert question.question.startswith("q")
    assert question.id.removeprefix("Mbpp/") in ("x", f"{name}-0")
    ((args, kwargs),) = asked
    if name == "livecodebench":
        assert args == ("json",) and all(row.source in file for file in kwargs["data_files"])
    else:
        assert args == (row.source, row.config) and kwargs == {"split": row.split}


def test_a_hub_that_cannot_be_reached_is_named(monkeypatch):
    def load_dataset(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    message = r"gsm8k cannot be loaded .*ConnectionError: no route.* --data"
    with pytest.raises(ValueError, match=message):
        loading.load(benchmarks.get("gsm8k"))


def test_gpqa_choices_are_lettered_the_same_every_time():
    rows = [gpqa_row(index) for index in range(8)]
    state = random.getstate()
    lettered = hub.gpqa_rows(rows)
    assert lettered == hub.gpqa_rows(rows) and random.getstate() == state
    assert len({row["expected_answer"] for row in lettered}) > 1
    for row in lettered:
        assert f"{row['expected_answer']}) right" in row["problem"]


def test_prompts_are_whole():
    for row in benchmarks.BENCHMARKS.values():
        rendered = benchmarks.render(row.prompt, "x^{2}, {examples} and {problem}")
        assert rendered.count("x^{2}, {examples} and {problem}") == 1
        assert row.answer != "boxed" or "\\boxed{}" in rendered
    with pytest.raises(ValueError, match="benchmark must be one of arith, .*; got 'mmlu'"):
        benchmarks.get("mmlu")
