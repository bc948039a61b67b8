"""Graders: the answer that a text gives, and whether it is right. One grader for all methods of a
run.

Math and multiple choice are graded by sgl-eval, whose rules are NeMo-Skills' (math-verify
underneath). Code is graded by runners of their own from exported samples (`export`); nothing that a
model wrote is executed here.

math-verify bounds its time by SIGALRM, so grade on the main thread.
"""

import re
from collections.abc import Callable
from typing import NamedTuple


class Grade(NamedTuple):
    correct: bool | None
    """None: to be scored by a runner outside."""
    answer: str | None
    """The answer as extracted; None where the text gives none."""


_INTEGER = re.compile(r"-?\d+")
_CODE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)


def arith(text: str, gold: str) -> Grade:
    """Right when the last integer in the text is the gold answer (the rule of the bundled model's
    card)."""
    found = _INTEGER.findall(text)
    answer = found[-1] if found else None
    return Grade(answer is not None and int(answer) == int(gold), answer)


def math(text: str, gold: str) -> Grade:
    r"""Right when the last `\boxed{...}` equals the gold answer by sgl-eval's `math_equal`."""
    from sgl_eval._vendored.nemo_skills.math_grader import extract_answer, math_equal

    answer = extract_answer(text)
    return Grade(bool(math_equal(gold, answer)), answer)


def mcq(text: str, gold: str) -> Grade:
    """Right when the letter that sgl-eval's `eval_mcq` finds is the gold one."""
    from sgl_eval.evals._multichoice import make_score_one_fn
    from sgl_eval.types import Example, Sample

    score, letter = make_score_one_fn()(Example("", {}, gold), Sample(text))
    return Grade(bool(score), letter)


def code(text: str, gold: str) -> Grade:
    """The last code block; never right or wrong here."""
    blocks = _CODE.findall(text)
    return Grade(None, blocks[-1].strip("\n") if blocks else None)


GRADERS: dict[str, Callable[[str, str], Grade]] = {
    "arith": arith,
    "math": math,
    "mcq": mcq,
    "evalplus": code,
    "livecodebench": code,
}


def grade(grader: str, text: str, gold: str) -> Grade:
    """Grade the text behind the thinking."""
    return GRADERS[grader](text, gold)
