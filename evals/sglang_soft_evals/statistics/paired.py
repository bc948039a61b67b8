"""The difference between two methods, question by question."""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

EXACT_UP_TO = 16
"""If at most so many questions differ, the sign-flip test counts all 2^Q flips."""


class Matched(NamedTuple):
    """The questions that two methods have both answered."""

    questions: list[str]
    """[Q] in the order of the first method."""
    differences: np.ndarray
    """[Q] second minus first."""
    left_out: int
    """Questions that only one of the two has."""


class SignFlip(NamedTuple):
    """Outcome of a two-sided test of "no difference"."""

    p: float
    exact: bool
    """All flips were counted; otherwise a random choice of them."""


def match_questions(first: Mapping[str, float], second: Mapping[str, float]) -> Matched:
    """Differences `second - first` on common questions. Both map a question to its mean over
    samples."""
    common = [question for question in first if question in second]
    differences = [second[question] - first[question] for question in common]
    left_out = len(first.keys() ^ second.keys())
    return Matched(common, np.asarray(differences, dtype=float), left_out)


def bootstrap_interval(
    differences: ArrayLike, *, level: float = 0.95, resamples: int = 9999, seed: int = 0
) -> tuple[float, float]:
    """Interval of the mean of [Q] differences; questions are drawn with all their samples
    (clustered bootstrap).

    Bias-corrected and accelerated (Efron 1987, `scipy.stats.bootstrap`); by percentiles if that is
    not defined. NaN for one question, which has no spread over questions.
    """
    differences = _differences(differences)
    if differences.size == 1:
        return float("nan"), float("nan")

    def interval(method: str) -> tuple[float, float]:
        low, high = stats.bootstrap(
            (differences,),
            np.mean,
            vectorized=True,
            n_resamples=resamples,
            batch=_batch(differences.size),
            confidence_level=level,
            method=method,
            rng=np.random.default_rng(seed),
        ).confidence_interval
        return float(low), float(high)

    with warnings.catch_warnings():
        # Degenerate data, which the line after this block looks for.
        warnings.simplefilter("ignore", RuntimeWarning)
        corrected = interval("BCa")
    return corrected if np.isfinite(corrected).all() else interval("percentile")


def sign_flip_test(differences: ArrayLike, *, resamples: int = 9999, seed: int = 0) -> SignFlip:
    """Permutation test that [Q] differences are symmetric about 0, so that the two labels of a
    question may be swapped.

    Exact if at most EXACT_UP_TO questions differ (Fisher 1935, chapter III). Otherwise p is
    (b + 1) / (m + 1) for m random flips, b of them at least as extreme (Phipson and Smyth 2010), so
    it is never 0. `scipy.stats.permutation_test`.
    """
    differences = _differences(differences)
    moved = differences[differences != 0]  # flipping a 0 changes nothing
    if moved.size == 0:
        return SignFlip(1.0, True)
    if moved.size == 1:
        return SignFlip(1.0, True)  # +d and -d are equally extreme
    exact = moved.size <= EXACT_UP_TO
    result = stats.permutation_test(
        (moved,),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**moved.size if exact else resamples,
        batch=_batch(moved.size),
        rng=np.random.default_rng(seed),
    )
    return SignFlip(min(float(result.pvalue), 1.0), exact)


def holm(p_values: ArrayLike) -> np.ndarray:
    """Adjusted [M] p-values that bound the chance of any false finding among M comparisons (Holm
    1979)."""
    p_values = np.asarray(p_values, dtype=float)
    if p_values.ndim != 1 or not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError(f"p_values must be [M] numbers between 0 and 1, not {p_values.tolist()}")
    order = np.argsort(p_values, kind="stable")
    stepped = p_values[order] * np.arange(p_values.size, 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def _differences(values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        shape = values.shape
        raise ValueError(
            f"differences must be [Q] finite numbers with Q >= 1, not of shape {shape}"
        )
    return values


def _batch(questions: int) -> int:
    return max(1, 2_000_000 // questions)  # 16 MB of float64 at a time
