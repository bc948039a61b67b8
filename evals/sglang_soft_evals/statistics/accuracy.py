"""Accuracy of one method: pass@1, pass@k, majority@k, each with an error clustered by question."""

from collections import Counter
from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


class Estimate(NamedTuple):
    """A mean over questions."""

    value: float
    se: float
    """Standard error over questions; NaN if there is only one."""
    low: float
    high: float


def pass_at_1(correct: ArrayLike, samples: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Accuracy averaged over the samples of each question, then over questions.

    correct, samples: [Q] ints, right answers and all answers of each question. Each question counts
    the same, even if a partial run has more samples of one than of another.
    """
    correct, samples = _counts(correct, samples)
    return fraction(correct / samples, int(samples.sum()), level)


def pass_at_k(correct: ArrayLike, samples: ArrayLike, k: int, *, level: float = 0.95) -> Estimate:
    """Chance that at least one of k answers is right; unbiased (Chen et al. 2021, arXiv 2107.03374,
    eq. 1).

    correct, samples: [Q] ints. Raises ValueError if a question has fewer than k samples.
    """
    correct, samples = _counts(correct, samples)
    _enough("pass", k, samples)
    missed = [comb(int(n - c), k) / comb(int(n), k) for c, n in zip(correct, samples)]
    return fraction(1 - np.asarray(missed), int(samples.sum()), level)


def majority_at_k(
    votes: Sequence[Sequence[tuple[str | None, bool]]], k: int, *, level: float = 0.95
) -> Estimate:
    """Chance that the most frequent of k answers is right: the exact mean over all choices of k
    samples of a question.

    votes: [Q][n] pairs (extracted answer, graded correct). All right answers are one party, wrong
    ones are grouped by their text, and an answer that could not be extracted (None) is one of the k
    but does not vote. Ties between leading parties are broken by a fair draw, taken in expectation.
    Raises ValueError if a question has fewer than k samples.
    """
    samples = np.asarray([len(question) for question in votes])
    _enough("majority", k, samples)
    values = np.asarray([_majority(question, k) for question in votes])
    return fraction(values, int(samples.sum()), level)


def mean_estimate(values: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Mean of [Q] values (tokens, seconds) with Student's t interval over questions."""
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        raise ValueError("values is empty: a mean needs at least one question")
    mean, se = float(values.mean()), _standard_error(values)
    t = float(stats.t.ppf((1 + level) / 2, values.size - 1)) if values.size > 1 else float("nan")
    half = t * se
    return Estimate(mean, se, mean - half, mean + half)


def _majority(question: Sequence[tuple[str | None, bool]], k: int) -> float:
    right = sum(ok and answer is not None for answer, ok in question)
    wrong = Counter(answer for answer, ok in question if answer is not None and not ok)
    blank = len(question) - right - wrong.total()
    score = 0.0
    for lead in range(1, min(right, k) + 1):
        # ways[drawn, tied]: choices of `drawn` other samples in which `tied` wrong parties have as
        # many votes as the right one, and none has more
        ways = {(drawn, 0): comb(blank, drawn) for drawn in range(min(blank, k - lead) + 1)}
        for size in wrong.values():
            grown: Counter[tuple[int, int]] = Counter()
            for (drawn, tied), count in ways.items():
                for taken in range(min(size, lead, k - lead - drawn) + 1):
                    grown[drawn + taken, tied + (taken == lead)] += count * comb(size, taken)
            ways = grown
        # integers of any size divide exactly rounded; the sum of k such terms is good to about
        # 1e-15
        for (drawn, tied), count in ways.items():
            if drawn == k - lead:
                score += comb(right, lead) * count / ((1 + tied) * comb(len(question), k))
    return min(score, 1.0)


def fraction(values: np.ndarray, answers: int, level: float) -> Estimate:
    """Mean of [Q] values in [0, 1]; Wilson's interval at the effective number of independent
    answers.

    The effective number is the one at which independent answers would have the clustered variance,
    as for surveys (Korn and Graubard 1998; Franco et al. 2019), between 1 and the number of
    answers. With one sample for each question this is Wilson's interval for Q answers. It has a
    width even if a method got everything right.
    """
    mean = float(values.mean())
    variance = float(((values - mean) ** 2).sum()) / values.size**2
    if mean in (0.0, 1.0):
        effective: float = values.size
    else:
        effective = min(answers, mean * (1 - mean) / variance if variance else answers)
    z = float(stats.norm.ppf((1 + level) / 2))
    shrink = 1 + z**2 / effective
    centre = (mean + z**2 / (2 * effective)) / shrink
    half = z / shrink * np.sqrt(mean * (1 - mean) / effective + z**2 / (4 * effective**2))
    # rounding must not put the ends inside the mean or outside [0, 1]
    low, high = max(0.0, min(centre - half, mean)), min(1.0, max(centre + half, mean))
    return Estimate(mean, _standard_error(values), float(low), float(high))


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else float("nan")


def _counts(correct: ArrayLike, samples: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    correct, samples = np.asarray(correct), np.asarray(samples)
    if correct.shape != samples.shape or correct.ndim != 1 or correct.size == 0:
        shapes = f"correct {correct.shape} and samples {samples.shape}"
        raise ValueError(f"{shapes} must both be [Q] with Q >= 1")
    if (samples < 1).any() or (correct < 0).any() or (correct > samples).any():
        raise ValueError("each question needs a sample, and at most as many right ones")
    return correct, samples


def _enough(name: str, k: int, samples: np.ndarray) -> None:
    if k < 1:
        raise ValueError(f"{name}@k: k is {k}, must be at least 1")
    if samples.size == 0:
        raise ValueError(f"{name}@{k}: there are no questions")
    short = int((samples < k).sum())
    if short:
        few = f"{short} of {samples.size} questions have fewer than {k} samples"
        raise ValueError(f"{name}@{k} is under-sampled: {few} (the fewest: {samples.min()})")
