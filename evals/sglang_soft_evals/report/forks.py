"""Majority over several answers of one thought, against as many tokens of thoughts with one answer
each."""

from math import floor

import numpy as np

from sglang_soft_evals.record import Record
from sglang_soft_evals.report.comparisons import answered
from sglang_soft_evals.report.document import Cell, Table
from sglang_soft_evals.report.numbers import NONE, number, percent, points
from sglang_soft_evals.rundir import Run
from sglang_soft_evals.statistics import bootstrap_interval, fraction, majority_of_forks

_NOTE = """\
Majority: the chance that the most frequent answer is right, if a question has so many thoughts with
so many answers each; ties are drawn fairly. The mean over random choices out of the answers of a
question. Tokens: of a question, a thought counted once. Equal tokens: thoughts with one answer
each, as many as take the same number of tokens; the part of a whole number is the chance of one
thought more. Brackets: 95% intervals over questions; of a difference, a bootstrap over questions,
not adjusted for their number."""

Thoughts = list[list[Record]]
"""The answers of each thought of a question."""


def forks(run: Run, benchmark: str) -> Table | None:
    """A row for each method whose answers share thoughts, number of thoughts and number of answers
    of each; None if there is no such method."""
    rows: list[dict[str, Cell]] = []
    for method, each in run.answers_per_thought.items():
        questions = run.of(benchmark, method)
        if each > 1 and answered(questions):
            rows += _rows(method, [_thoughts(records, each) for records in questions.values()])
    return Table(rows, " ".join(_NOTE.split())) if rows else None


def _thoughts(records: list[Record], each: int) -> Thoughts:
    """The thoughts of which every answer has come."""
    found: dict[int, list[Record]] = {}
    for record in records:
        found.setdefault(record.sample // each, []).append(record)
    return [answers for answers in found.values() if len(answers) == each]


def _rows(method: str, questions: list[Thoughts]) -> list[dict[str, Cell]]:
    most = min(map(len, questions))
    if not most:
        return []  # of a question no thought has all of its answers
    each = len(questions[0][0])
    votes = [[[(r.answer, r.correct) for r in answers] for answers in q] for q in questions]
    singles = [majority_of_forks(votes, thoughts, 1) for thoughts in range(1, most + 1)]
    thought, answer = _tokens(questions)
    rows: list[dict[str, Cell]] = []
    for thoughts in _steps(most):
        for answers in _steps(each):
            values = majority_of_forks(votes, thoughts, answers)
            tokens = thoughts * (thought + answers * answer)
            row: dict[str, Cell] = {
                "method": method,
                "thoughts x answers": f"{thoughts} x {answers}",
                "tokens": number(tokens),
                "majority, %": percent(fraction(values, thoughts * answers * len(values), 0.95)),
            }
            equal = tokens / (thought + answer)
            if answers == 1 or equal > most:
                row |= {"thoughts at equal tokens": NONE, "difference, points": NONE}
            else:
                difference = values - _between(singles, equal)
                interval = bootstrap_interval(difference)
                row["thoughts at equal tokens"] = f"{equal:.1f}"
                row["difference, points"] = points(float(difference.mean()), *interval)
            rows.append(row)
    return rows


def _between(singles: list[np.ndarray], thoughts: float) -> np.ndarray:
    """[Q] chances with a number of thoughts that is not whole."""
    low = min(floor(thoughts), len(singles) - 1) if len(singles) > 1 else 1
    share = thoughts - low
    return (1 - share) * singles[low - 1] + (share * singles[low] if share else 0)


def _tokens(questions: list[Thoughts]) -> tuple[float, float]:
    """Mean tokens of a thought, think-end included, and of an answer."""
    thoughts = [answers for q in questions for answers in q]
    records = [r for answers in thoughts for r in answers]
    answer = sum(r.answer_tokens for r in records)
    whole = sum(r.completion_tokens for r in records)
    return (whole - answer) / len(thoughts), answer / len(records)


def _steps(most: int) -> list[int]:
    """1, 2, 4, ... and `most`."""
    found = [2**i for i in range(most.bit_length())]
    return found + [most] * (most not in found)
