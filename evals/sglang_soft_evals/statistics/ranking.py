"""How well a number of each answer, such as an entropy, tells wrong answers from right ones."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sglang_soft_evals.statistics.accuracy import Estimate

RESAMPLES = 2000


def auc(values: ArrayLike, wrong: ArrayLike, questions: Sequence[str]) -> Estimate | None:
    """The chance that a wrong answer has a larger value than a right one; ties count half.

    0.5: the value tells nothing; below: small values are wrong more often (area under the ROC
    curve; Hanley and McNeil 1982). The interval is by percentiles of a bootstrap that draws
    questions with all their answers.

    values: [N] numbers. wrong: [N] bools. questions: [N], whose answers they are.
    Returns None if no answer, or every one, is wrong.
    """
    values, wrong, group = _checked(values, wrong, questions)
    if wrong.all() or not wrong.any():
        return None
    order = np.argsort(values, kind="stable")
    values, wrong, group = values[order], wrong[order], group[order]
    starts = np.flatnonzero(np.diff(values, prepend=-np.inf))

    def statistic(weights: np.ndarray) -> np.ndarray:  # [R, Q] -> [R]
        each = weights[:, group]
        bad = np.add.reduceat(each * wrong, starts, axis=1)
        good = np.add.reduceat(each * ~wrong, starts, axis=1)
        won = (bad * (np.cumsum(good, axis=1) - good / 2)).sum(1)
        return _ratio(won, bad.sum(1) * good.sum(1))

    return _clustered(statistic, group)


def auc_within(values: ArrayLike, wrong: ArrayLike, questions: Sequence[str]) -> Estimate | None:
    """The same among answers to one question, over all its pairs of a wrong and a right one: how
    hard a question is has no part in it. None if there is no such pair."""
    values, wrong, group = _checked(values, wrong, questions)
    count = group.max() + 1
    won, pairs = np.zeros(count), np.zeros(count)
    for question in range(count):
        mine = group == question
        bad, good = values[mine & wrong][:, None], values[mine & ~wrong][None]
        won[question] = (bad > good).sum() + (bad == good).sum() / 2
        pairs[question] = bad.size * good.size
    if not pairs.any():
        return None
    return _clustered(lambda weights: _ratio(weights @ won, weights @ pairs), group)


def _clustered(statistic: Callable[[np.ndarray], np.ndarray], group: np.ndarray) -> Estimate:
    count = int(group.max()) + 1
    rng = np.random.default_rng(0)
    value = float(statistic(np.ones((1, count)))[0])
    batch = max(1, 4_000_000 // group.size)
    drawn: list[np.ndarray] = []
    for at in range(0, RESAMPLES, batch):
        size = min(batch, RESAMPLES - at)
        weights = rng.multinomial(count, np.full(count, 1 / count), size=size).astype(float)
        drawn.append(statistic(weights))
    found = np.concatenate(drawn)
    found = found[np.isfinite(found)]  # draws in which every answer is right, or wrong
    if count == 1 or found.size == 0:
        return Estimate(value, float("nan"), float("nan"), float("nan"))
    low, high = (float(np.quantile(found, q)) for q in (0.025, 0.975))
    return Estimate(value, float(found.std(ddof=1)), low, high)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _checked(
    values: ArrayLike, wrong: ArrayLike, questions: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values, wrong = np.asarray(values, float), np.asarray(wrong, bool)
    group = np.unique(np.asarray(questions), return_inverse=True)[1].reshape(-1)
    if not values.shape == wrong.shape == group.shape or values.ndim != 1 or not values.size:
        shapes = f"{values.shape}, {wrong.shape} and {group.shape}"
        raise ValueError(f"values, wrong and questions must be [N] with N >= 1, not {shapes}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")
    return values, wrong, group
