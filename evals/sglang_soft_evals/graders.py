"""Graders: the answer that a text gives, and whether it is right. All methods of a run have the
same grader.

sgl-eval grades math and multiple choice, by NeMo-Skills' rules (math-verify underneath). Code is
scored by its own runners from exported samples (`export`); nothing that a model wrote is executed
here.

math-verify limits its time by SIGALRM, which works on the main thread only. A run calls these
functions in another process, with a deadline (`grading`).
"""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from sglang_soft_evals.fences import python_code
from sglang_soft_evals.numbers import plain_numbers, stated, written


class Grade(NamedTuple):
    correct: bool | None
    """None: to be scored by another program."""
    answer: str | None
    """The answer as extracted; None if the text gives none."""


def arith(text: str, gold: str) -> Grade:
    """Right if the number that the text gives is the gold answer: see `numbers.stated`."""
    value = stated(text)
    if value is None:
        return Grade(False, None)
    return Grade(value == Fraction(gold.replace(",", "")), written(value))


def math(text: str, gold: str) -> Grade:
    r"""Right if the last `\boxed{...}` equals the gold answer by sgl-eval's `math_equal`.

    Numbers are put into plain digits before (`1\,234`, `\text{0.5}`), which sgl-eval refuses.
    """
    from sgl_eval._vendored.nemo_skills.math_grader import extract_answer, math_equal

    answer = extract_answer(text)
    return Grade(bool(math_equal(gold, answer and plain_numbers(answer))), answer)


def mcq(text: str, gold: str) -> Grade:
    """Right if the letter that sgl-eval's `eval_mcq` finds is the gold one."""
    from sgl_eval.evals._multichoice import make_score_one_fn
    from sgl_eval.types import Example, Sample

    score, letter = make_score_one_fn()(Example("", {}, gold), Sample(text))
    return Grade(bool(score), letter)


def code(text: str, gold: str) -> Grade:
    """The last block of Python (`fences.python_code`); never right or wrong here."""
    return Grade(None, python_code(text))


GRADERS: dict[str, Callable[[str, str], Grade]] = {
    "arith": arith,
    "math": math,
    "mcq": mcq,
    "evalplus": code,
    "livecodebench": code,
}


def grade(grader: str, text: str, gold: str) -> Grade:
    """Grade the text after the thinking."""
    return GRADERS[grader](text, gold)
