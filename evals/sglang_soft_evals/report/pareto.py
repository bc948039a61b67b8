"""The Pareto front of accuracy against tokens."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sglang_soft_evals.statistics import Estimate


class Point(NamedTuple):
    name: str
    tokens: Estimate
    accuracy: Estimate
    """In percent."""

    @property
    def means(self) -> tuple[float, float]:
        """(tokens, accuracy) as observed."""
        return self.tokens.value, self.accuracy.value


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other dominates, by tokens.

    A point dominates another if its observed means are at least as good on both axes and not equal.
    """
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.tokens.value, -p.accuracy.value)):
        if (
            not kept
            or kept[-1].means == point.means
            or point.accuracy.value > kept[-1].accuracy.value
        ):
            kept.append(point)
    return kept


def crowd(points: Sequence[Point], baseline: str) -> list[Point]:
    """The points without outliers (beyond Tukey's outer fences), which press the others together.

    The front and the baseline always stay.
    """
    best = front(points)
    tokens = _within_fences([p.tokens.value for p in points])
    accuracy = _within_fences([p.accuracy.value for p in points])
    return [
        p
        for p, near_x, near_y in zip(points, tokens, accuracy)
        if p in best or p.name == baseline or (near_x and near_y)
    ]


def _within_fences(values: Sequence[float]) -> list[bool]:
    low, high = (float(np.quantile(values, q)) for q in (0.25, 0.75))
    reach = 3 * (high - low)
    return [low - reach <= value <= high + reach for value in values]
