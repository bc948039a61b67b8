"""Every method compared with the baseline, on the questions that both have answered."""

from dataclasses import dataclass

import numpy as np

from sglang_soft_evals.report.measures import Questions, mean_accuracy, mean_tokens
from sglang_soft_evals.rundir import Run
from sglang_soft_evals.statistics import (
    bootstrap_interval,
    holm,
    match_questions,
    questions_needed,
    sign_flip_test,
    smallest_gain,
)

GAIN = 0.025
"""The gain for which "questions needed" is given: about the paper's, which is 2.48 points for
QwQ-32B on average over four benchmarks."""
ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A method minus the baseline. Accuracies are fractions."""

    method: str
    questions: int
    left_out: int
    """Questions that only one of the two has."""
    difference: float
    low: float
    high: float
    p: float
    exact: bool
    p_holm: float
    """Adjusted for all methods that were compared on this benchmark."""
    needed: int | None
    """Questions that a gain of GAIN needs to be visible; None if the differences have no spread."""
    needed_observed: int | None
    """The same for a gain as large as the difference observed here."""
    smallest: float | None
    """The smallest gain that is visible with this number of questions."""
    tokens: tuple[float, float, float] | None
    """Difference in mean tokens with its interval."""

    @property
    def verdict(self) -> str:
        """`higher` or `lower` only if the interval does not contain 0 and the adjusted p-value is
        below ALPHA."""
        if not (self.low > 0 or self.high < 0):
            return "not distinguishable"
        if self.p_holm >= ALPHA:
            return "not distinguishable after Holm"
        return "higher" if self.difference > 0 else "lower"


def pick_baseline(run: Run, baseline: str | None) -> str:
    """The named one, else `cot`, else the first without parameters, else the first. Raises
    ValueError for an unknown name."""
    if baseline is not None and baseline not in run.methods:
        known = ", ".join(run.methods)
        raise ValueError(f"baseline is {baseline!r}, must be one of the run's methods: {known}")
    plain = [name for name, params in run.methods.items() if params is None]
    return baseline or next(iter([*(n for n in plain if n == "cot"), *plain, *run.methods]))


def compare(run: Run, benchmark: str, baseline: str) -> dict[str, Comparison]:
    """Method -> its comparison, for the methods that share a question with the baseline.

    A method without a score (every request failed) is not compared.
    """
    reference = run.of(benchmark, baseline)
    rows: dict[str, dict] = {}
    for method in run.methods:
        questions = run.of(benchmark, method)
        common = questions.keys() & reference.keys()
        if method != baseline and common and answered(questions) and answered(reference):
            rows[method] = _compare(method, reference, questions)
    adjusted = holm([row["p"] for row in rows.values()])
    return {
        name: Comparison(**row, p_holm=float(p)) for (name, row), p in zip(rows.items(), adjusted)
    }


def answered(questions: Questions) -> bool:
    """Whether any request was answered, with a verdict."""
    every = (record for records in questions.values() for record in records)
    return any(not record.failed and not record.error for record in every)


def _compare(method: str, reference: Questions, questions: Questions) -> dict:
    matched = match_questions(mean_accuracy(reference), mean_accuracy(questions))
    count = matched.differences.size
    low, high = bootstrap_interval(matched.differences)
    test = sign_flip_test(matched.differences)
    difference = float(matched.differences.mean())
    sd = float(matched.differences.std(ddof=1)) if count > 1 else 0.0
    tokens = match_questions(mean_tokens(reference), mean_tokens(questions)).differences
    observed = sd > 0 and abs(difference) > 1e-9
    return {
        "method": method,
        "questions": count,
        "left_out": matched.left_out,
        "difference": difference,
        "low": low,
        "high": high,
        "p": test.p,
        "exact": test.exact,
        "needed": questions_needed(GAIN, sd) if sd > 0 else None,
        "needed_observed": questions_needed(difference, sd) if observed else None,
        "smallest": smallest_gain(sd, count) if sd > 0 else None,
        "tokens": (float(np.mean(tokens)), *bootstrap_interval(tokens)) if tokens.size else None,
    }
