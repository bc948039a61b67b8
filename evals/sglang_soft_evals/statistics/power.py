"""Power of a paired comparison: how many questions a gain needs, and what gain a run can see.

The paired t-test with noncentral t (Cohen 1988, section 2.4, case of dependent samples; the numbers
of R's `power.t.test(type="paired", strict=TRUE)` and of G*Power). `sd` is the spread over questions
of the observed difference, so it includes the noise of the samples of a question.
"""

import math

from scipy import optimize, stats


def paired_power(gain: float, sd: float, questions: int, *, alpha: float = 0.05) -> float:
    """Chance to find a true mean difference `gain` at level alpha with this many questions."""
    _check(sd, alpha)
    if questions < 2:
        raise ValueError(f"questions is {questions}: a spread needs at least 2")
    critical = float(stats.t.ppf(1 - alpha / 2, questions - 1))
    shift = abs(gain) / sd * math.sqrt(questions)
    upper = float(stats.nct.sf(critical, questions - 1, shift))
    lower = float(stats.nct.cdf(-critical, questions - 1, shift))
    return upper + (lower if math.isfinite(lower) else 0.0)  # the far tail underflows to NaN


def questions_needed(gain: float, sd: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Least number of questions that finds a true difference `gain` with this power.

    gain and sd are in the same unit. Raises ValueError for a gain of 0 (no number is enough) and a
    spread of 0 (it is not known).
    """
    _check(sd, alpha, power)
    if gain == 0:
        raise ValueError("gain is 0: no number of questions can show it")
    z = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    # The normal formula is a lower bound: Student's t needs a question or two more.
    questions = max(2, math.floor((z * sd / abs(gain)) ** 2))
    if questions > 100_000:
        return questions + 1  # the two formulas agree in all digits that matter
    while paired_power(gain, sd, questions, alpha=alpha) < power:
        questions += 1
    return questions


def smallest_gain(sd: float, questions: int, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Least true difference that this many questions find with this power; the unit of sd."""
    _check(sd, alpha, power)
    critical = float(stats.t.ppf(1 - alpha / 2, questions - 1)) if questions > 1 else math.nan

    def short(effect: float) -> float:
        return paired_power(effect, 1.0, questions, alpha=alpha) - power

    # The upper end is the critical value plus a wide margin, enough for 1 degree of freedom.
    return sd * float(optimize.brentq(short, 1e-9, (2 * critical + 4) / math.sqrt(questions)))


def _check(sd: float, alpha: float, power: float = 0.8) -> None:
    if not (math.isfinite(sd) and sd > 0):
        raise ValueError(f"sd is {sd}: the spread of differences must be a finite number above 0")
    if not 0 < alpha < 1 or not 0 < power < 1:
        raise ValueError(f"alpha {alpha} and power {power} must lie between 0 and 1")
