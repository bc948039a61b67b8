"""How numbers are written in the report."""

from math import isnan

from sglang_soft_evals.statistics import Estimate

NONE = "-"
"""Shown if there are no answers, or a number is not defined."""


def percent(estimate: Estimate) -> str:
    """`83.3 [70.2, 91.5]`: percent with the interval."""
    return f"{100 * estimate.value:.1f} {interval(100 * estimate.low, 100 * estimate.high)}"


def points(difference: float, low: float, high: float) -> str:
    """`+2.5 [-0.3, +5.1]`: percentage points with the interval, from fractions."""
    return f"{signed(100 * difference)} {interval(100 * low, 100 * high, sign=True)}"


def interval(low: float, high: float, digits: int = 1, sign: bool = False) -> str:
    if isnan(low) or isnan(high):
        return "[one question: no interval]"
    if sign:
        return f"[{signed(low, digits)}, {signed(high, digits)}]"
    return f"[{low:,.{digits}f}, {high:,.{digits}f}]"


def signed(value: float, digits: int = 1) -> str:
    """With its sign; a number that rounds to zero has none."""
    text = f"{value:+,.{digits}f}"
    return text if any(c in "123456789" for c in text) else text[1:]


def number(value: float | None, digits: int = 0) -> str:
    return NONE if value is None or isnan(value) else f"{value:,.{digits}f}"


def p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def share(count: int, of: int) -> str:
    """`12 (2.4%)`."""
    return f"{count:,} ({100 * count / of:.1f}%)" if of else f"{count:,}"
