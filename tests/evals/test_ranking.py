"""AUC by pairs, and its intervals by questions."""

import numpy as np
import pytest
from scipy import stats
from sglang_soft_evals.statistics import auc, auc_within


def drawn(questions: int = 80, samples: int = 4, shift: float = 0.0, spread: float = 0.0, seed=0):
    """Values of N answers, whether each is wrong, and its question. shift: of wrong answers.
    spread: of questions, alike in value and in the chance to be wrong."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, spread, questions).repeat(samples)
    wrong = rng.random(hard.size) < 1 / (1 + np.exp(1 - hard))
    values = rng.normal(0, 1, hard.size) + hard + shift * wrong
    return values, wrong, [f"q{i // samples}" for i in range(hard.size)]


@pytest.mark.parametrize("shift", [-1.0, 0.0, 2.0])
def test_it_is_the_share_of_pairs(shift):
    values, wrong, questions = drawn(shift=shift)
    values = np.round(values, 1)  # ties
    found = auc(values, wrong, questions)
    bad, good = values[wrong][:, None], values[~wrong][None]
    assert found.value == pytest.approx(((bad > good) + (bad == good) / 2).mean())
    scipy = stats.mannwhitneyu(values[wrong], values[~wrong]).statistic / (bad.size * good.size)
    assert found.value == pytest.approx(scipy)
    assert found.low < found.value < found.high
    assert (found.low > 0.5, found.high < 0.5) == (shift > 0, shift < 0)


def test_within_a_question_by_hand():
    values = [3.0, 1.0, 2.0, 5.0, 4.0, 4.0]
    wrong = [True, False, False, True, False, False]
    questions = ["a", "a", "a", "b", "c", "c"]
    # a: 3 > 1 and 3 > 2; b and c have no pair
    assert auc_within(values, wrong, questions).value == 1.0
    assert auc_within([2.0, *values[1:]], wrong, questions).value == 0.75  # a tie counts half
    assert auc_within(values, wrong, list("abcdef")) is None
    assert (
        auc(values, [False] * 6, questions) is None and auc(values, [True] * 6, questions) is None
    )
    one = auc(values, wrong, ["a"] * 6)
    assert np.isnan(one.low) and one.value == pytest.approx((2 + 4) / 8)


def test_hard_questions_alone_move_it_and_not_the_one_within_a_question():
    values, wrong, questions = drawn(questions=300, spread=2.0)
    assert auc(values, wrong, questions).low > 0.6
    within = auc_within(values, wrong, questions)
    assert within.low < 0.5 < within.high


def test_intervals_draw_whole_questions():
    """Copies of an answer bring no certainty."""
    values, wrong, questions = drawn(samples=1)
    once = auc(values, wrong, questions)
    copied = auc(values.repeat(9), wrong.repeat(9), np.repeat(questions, 9).tolist())
    assert copied.value == pytest.approx(once.value)
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.1)


def test_about_95_of_100_intervals_hold_the_truth():
    hits = 0
    for seed in range(100):
        found = auc(*drawn(seed=seed))
        hits += found.low <= 0.5 <= found.high
    assert 88 <= hits <= 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [True, False], ["a"]), "must be"),
        (([], [], []), "N >= 1"),
        (([1.0, np.nan], [True, False], ["a", "b"]), "finite"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        auc(*arguments)
