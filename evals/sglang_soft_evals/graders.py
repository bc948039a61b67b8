"""Graders: the answer that a text gives, and whether it is right. All methods of a run have the
same grader.

sgl-eval grades math and multiple choice, by NeMo-Skills' rules (math-verify underneath). Code is
scored by its own runners from exported samples (`export`); nothing that a model wrote is executed
here.

math-verify limits its time by SIGALRM, which works on the main thread only. A run calls these
functions in another process, with a deadline (`grading`).
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from sglang_soft_evals import numbers


class Grade(NamedTuple):
    correct: bool | None
    """None: to be scored by another program."""
    answer: str | None
    """The answer as extracted; None if the text gives none."""


_OPENING = re.compile(r"(`{3,}|~{3,})[ \t]*\{?[ \t]*\.?([\w+#-]*)[^`]*$")
"""A fence and its language, up to the end of the line."""
_PYTHON = {"", "python", "python2", "python3", "py", "py2", "py3", "ipython", "ipython3"}


def arith(text: str, gold: str) -> Grade:
    """Right if the number that the text gives is the gold answer: see `numbers.stated`."""
    answer = numbers.stated(text)
    return Grade(answer is not None and numbers.equal(answer, gold), answer)


def math(text: str, gold: str) -> Grade:
    r"""Right if the last `\boxed{...}` equals the gold answer by sgl-eval's `math_equal`."""
    from sgl_eval._vendored.nemo_skills.math_grader import extract_answer, math_equal

    answer = extract_answer(text)
    return Grade(bool(math_equal(gold, answer)), answer)


def mcq(text: str, gold: str) -> Grade:
    """Right if the letter that sgl-eval's `eval_mcq` finds is the gold one."""
    from sgl_eval.evals._multichoice import make_score_one_fn
    from sgl_eval.types import Example, Sample

    score, letter = make_score_one_fn()(Example("", {}, gold), Sample(text))
    return Grade(bool(score), letter)


def code(text: str, gold: str) -> Grade:
    """The last block of Python; never right or wrong here."""
    blocks = list(python_blocks(text))
    return Grade(None, blocks[-1] if blocks else None)


def python_blocks(text: str) -> Iterator[str]:
    """The fenced blocks that are Python or name no language, without empty ones.

    A language may have spaces before it and any case. A block that is not closed (a truncated
    answer) ends with the text. Line ends become `\\n`.
    """
    fence, language, block = "", "", list[str]()
    # Not str.splitlines: a form feed or a Unicode line separator may be inside of code.
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        end = line.rstrip()
        if not fence:
            if opening := _OPENING.search(line):
                fence, language, block = opening[1], opening[2].lower(), []
        elif end.lstrip(" \t") == fence or (
            end.endswith(fence) and fence[0] not in end[: -len(fence)]
        ):
            yield from _python([*block, end[: -len(fence)]], language)
            fence = ""
        else:
            block.append(line)
    if fence:
        yield from _python(block, language)


def _python(lines: list[str], language: str) -> Iterator[str]:
    block = "\n".join(lines).strip("\n").rstrip()
    if block.strip() and language in _PYTHON:
        yield block


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
