"""Spellings of numbers and of code that models use, in our grader and in the lm-eval task."""

import importlib.util
import re
import time
from fractions import Fraction
from pathlib import Path

import pytest
import yaml
from sglang_soft_evals import graders
from sglang_soft_evals.numbers import stated

from tests.issue_table import case

CLIENTS = Path(__file__).parents[2] / "evals" / "clients"
GOLD = 1462
RIGHT = [
    r"1462",
    r"1,462",
    r"1462.0",
    r"1,462.00",
    r"1462.",
    r"$1462$",
    r"$1,462$",
    r"$$1462$$",
    r"\$1462",
    r"$ 1462",
    r"€1462",
    r"USD 1462",
    r"\boxed{1462}",
    r"\boxed{1{,}462}",
    r"\boxed{1,462}",
    r"$\boxed{1462}$.",
    r"\boxed{\text{1462}}",
    r"1\,462",
    r"1\;462",
    r"1\ 462",
    r"1,\!462",
    r"1~462",
    r"\text{1462}",
    r"\mathbf{1462}",
    r"\num{1462}",
    r"\(1462\)",
    r"\[1462\]",
    r"**1462**",
    r"**1,462**",
    r"*1462*",
    r"__1462__",
    r"`1462`",
    r"(1462)",
    r"[1462]",
    r"'1462'",
    r"1462!",
    r"+1462",
    r"01462",
    r"#1462",
    r"1 462",
    r"1’462",
    r"1'462",
    r"1_462",
    r"1462 cm",
    r"1462 cm^2",
    r"1462 cm²",
    r"1462 cm2",
    r"1462 m^{3}",
    r"1462 km/h",
    r"1462%",
    r"1462\%",
    r"1462\text{ cm}^2",
    r"1462\,\text{cm}^{2}",
    r"1462 apples",
    r"1462 units.",
    r"2924/2",
    r"\frac{2924}{2}",
    r"\dfrac{2924}{2}",
    r"\frac{2924}2",
    r"1.462e3",
    r"1.462E+3",
    r"1.462 × 10^3",
    r"1.462 \times 10^{3}",
    r"1.462\cdot10^3",
    r"1.462*10**3",
    r"43*34=1462",
    r"43 × 34 = 1,462",
    r"x = 1462",
    r"≈1462",
    r"1400-1462",
    r"USD1462",
    r"\boxed{1462} (because 43*34 is 2 less than 1464)",
    r"1462</answer>",
    r"1462, as asked",
    r"1462; done",
]
RIGHT += [
    "1\u2009462", "1\u202f462", "1\u00a0462", "\u200b1462\u200b", "١٤٦٢", "１４６２",
    "1462\r\n", "| 43*34 | 1462 |", "\n- 1462", "1462/1",
]  # fmt: skip
WRONG = {
    "-1462": -1462, "\u22121462": -1462, "= - 1462": -1462, "\\boxed{-1{,}462}": -1462,
    "-$1462": -1462, "-\\frac{2924}{2}": -1462, "1463": 1463, "1462.5": Fraction(2925, 2),
    "1.462": Fraction(731, 500), "14,62": 62, "1462, 1463": 1463, "1462/3": Fraction(1462, 3),
    "1462 - 1": 1, "\\frac{1462}{7}": Fraction(1462, 7), "14620": 14620, "1462000": 1462000,
    "1,462,000": 1462000, "\\boxed{1463} and not 1462": 1463, "no number": None, "": None,
    "cm2": None, "1/0": None, "9" * 5000: None,
}  # fmt: skip


def old(text):
    """What commit b468ece took for the answer: the last integer."""
    found = re.findall(r"-?\d+", text)
    return found[-1] if found else "nothing"


@pytest.fixture(scope="module")
def task():
    """The function that lm-eval calls, by the name in the task's file."""
    text = (CLIENTS / "arith.yaml").read_text()
    module, name = re.search(r"process_results: !function (\w+)\.(\w+)", text).groups()
    spec = importlib.util.spec_from_file_location(module, CLIENTS / f"{module}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return getattr(loaded, name)


@pytest.mark.parametrize(
    "text", [case("C18", repr(t), f"{old(t)}", str(GOLD), t) for t in RIGHT]
)  # fmt: skip
def test_a_right_number_in_any_spelling(task, text):
    for answer in (text, f"Answer: {text}", f"The result of 43*34 is\n{text}"):
        assert graders.arith(answer, str(GOLD)) == (True, str(GOLD)), answer
        assert task({"answer": str(GOLD)}, [answer]) == {"exact_match": 1.0}


@pytest.mark.parametrize(("text", "value"), WRONG.items(), ids=[repr(t)[:40] for t in WRONG])
def test_another_number_is_wrong_in_any_spelling(task, text, value):
    assert stated(text) == value
    assert not graders.arith(text, str(GOLD)).correct
    assert task({"answer": str(GOLD)}, [text]) == {"exact_match": 0.0}


def test_negative_gold_answers(task):
    for text in ("-5", "\u22125", "$-5$", "= -5", "\\boxed{-5}", "-5.0", "(-5)", "-10/2"):
        assert graders.arith(text, "-5").correct and task({"answer": -5}, [text])["exact_match"]
    for text in ("5", "3-5", "- 5"):
        assert not graders.arith(text, "-5").correct, text


def test_the_task_grades_the_answer_alone(task):
    """A server without a reasoning parser sends the thought along, one with it perhaps nothing."""
    assert task({"answer": "4"}, ["so 5</think>Answer: 4"]) == {"exact_match": 1.0}
    assert task({"answer": "5"}, ["so 5</think>Answer: "]) == {"exact_match": 0.0}
    assert task({"answer": "5"}, [None]) == {"exact_match": 0.0}


def test_the_task_does_not_run_at_temperature_0():
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: node.value)
    read = yaml.load((CLIENTS / "arith.yaml").read_text(), Loader)
    assert read["generation_kwargs"]["temperature"] > 0 and read["generation_kwargs"]["do_sample"]


def test_a_long_text_takes_no_time():
    began = time.monotonic()
    for text in (
        "1,",
        "1",
        "$",
        " ",
        "\\frac{",
        "{",
        "1 ",
        "-",
        "= ",
        "\\boxed{",
        "**",
        "1/",
        ".1",
    ):
        stated(text * 20_000)
    assert time.monotonic() - began < 10


CODE = "def f():\n    return"
OLD_CODE = re.compile(r"```(?:python)?\n(.*?)```", re.DOTALL)
FENCED = {
    "```python3": f"```python3\n{CODE}\n```",
    "```Python": f"```Python\n{CODE}\n```",
    "``` python": f"``` python\n{CODE}\n```",
    "```py": f"```py\n{CODE}\n```",
    "```python3.11": f"```python3.11\n{CODE}\n```",
    "```Python 3": f"```Python 3\n{CODE}\n```",
    "```ipython": f"```ipython\n{CODE}\n```",
    "```python:main.py": f"```python:main.py\n{CODE}\n```",
    "```python title='x'": f"```python title='x'\n{CODE}\n```",
    "```{.python .numberLines}": f"```{{.python .numberLines}}\n{CODE}\n```",
    "```{python}": f"```{{python}}\n{CODE}\n```",
    "CRLF": f"```python\n{CODE}\n```\nDone.".replace("\n", "\r\n"),
    "unclosed": f"So:\n```python\n{CODE}",
    "closed at the end of a line": f"```python\n{CODE}```",
    "closed with a full stop": f"```python\n{CODE}\n```.",
    "closed with a longer fence": f"```python\n{CODE}\n`````",
    "~~~python": f"~~~python\n{CODE}\n~~~",
    "~~~~ Python3": f"~~~~ Python3\n{CODE}\n~~~~",
    "````python": f"````python\n{CODE}\n````",
    "indented in a list": "1. So:\n\n   ```python\n   def f():\n       return\n   ```",
    "indented fence only": f"  ```python\n{CODE}\n  ```",
    "quoted": "> ```python\n> def f():\n>     return\n> ```",
    "after text": f"The solution: ```python\n{CODE}\n```",
    "no language": f"```\n{CODE}\n```",
    "then its output": f"```python\n{CODE}\n```\nOutput:\n```\n5\n```",
    "then a session": f"```python\n{CODE}\n```\n```python\n>>> f()\n```",
    "then a shell": f"```python\n{CODE}\n```\n```bash\npython f.py\n```",
    "no fence": f"{CODE}\n",
}


def old_code(text):
    blocks = OLD_CODE.findall(text)
    return repr(blocks[-1].strip("\n"))[1:-1] if blocks else "no code"


@pytest.mark.parametrize(
    "text", [case("C18", name, old_code(t), "the function", t) for name, t in FENCED.items()]
)
def test_code_in_any_fence(text):
    for grader in ("evalplus", "livecodebench"):
        assert graders.grade(grader, text, "") == (None, CODE)


@pytest.mark.parametrize(
    "text",
    ["", "f()", "Answer: 5", "I cannot.", "```json\n{}\n```", "```{.json}\n1\n```",
     "```c++\nint x;\n```", "```text\nx = 1\n```", "~~~\n~~~", "```python\n\n```"],
)  # fmt: skip
def test_a_text_without_code(text):
    assert graders.grade("evalplus", text, "") == (None, None)


def test_characters_inside_code_stay():
    code = "s = 'a\u2028b\x0c'\nt = '''\n    ~~~x\n'''"
    assert graders.grade("evalplus", f"```python\n{code}\n```", "").answer == code
