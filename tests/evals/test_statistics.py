"""The statistics against SciPy, published worked examples, brute force and simulation; and with
wrong data."""

import warnings
from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats
from sglang_soft_evals.statistics import (
    bootstrap_interval,
    holm,
    majority_at_k,
    match_questions,
    mean_estimate,
    paired_power,
    pass_at_1,
    pass_at_k,
    questions_needed,
    sign_flip_test,
    smallest_gain,
)

DARWIN = (49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48)
"""Height of crossed minus self-fertilised maize, 1/8 inch (Fisher 1935, chapter III)."""


def test_pass_at_1_is_scipys_clustered_mean():
    rng = np.random.default_rng(1)
    correct = rng.binomial(8, rng.beta(2, 1, 50))
    found = pass_at_1(correct, np.full(50, 8))
    assert found.value == pytest.approx(correct.sum() / 400, abs=1e-15)
    assert found.se == pytest.approx(stats.sem(correct / 8), abs=1e-15)
    # Miller 2024, eq. for clustered standard errors, written out over pairs of samples of a
    # question; its divisor is Q
    answers = [np.repeat([1.0, 0.0], [c, 8 - c]) for c in correct]
    miller = np.sqrt(sum(np.outer(a - found.value, a - found.value).sum() for a in answers)) / 400
    assert found.se == pytest.approx(miller * np.sqrt(50 / 49), rel=1e-12)


@pytest.mark.parametrize("right", [0, 1, 15, 29, 30])
def test_one_sample_a_question_gives_scipys_wilson_interval(right):
    found = pass_at_1([1] * right + [0] * (30 - right), [1] * 30)
    expected = stats.binomtest(right, 30).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_samples_of_a_question_do_not_count_as_questions():
    """Sixteen copies of each answer tell nothing new: the interval stays, where a naive one would
    shrink fourfold."""
    once = pass_at_1([1, 0, 1, 1, 0, 1, 1, 1], [1] * 8)
    copied = pass_at_1([16, 0, 16, 16, 0, 16, 16, 16], [16] * 8)
    assert copied == pytest.approx(once)
    assert pass_at_1([16] * 8, [16] * 8)[2:] == pytest.approx(pass_at_1([1] * 8, [1] * 8)[2:])


def _covered(trials: int, interval, truth: float) -> float:
    return np.mean([low <= truth <= high for low, high in (interval() for _ in range(trials))])


def test_the_interval_of_an_accuracy_covers_it():
    rng = np.random.default_rng(2)

    def interval():
        found = pass_at_1(rng.binomial(4, rng.beta(1.5, 0.5, 30)), np.full(30, 4))
        return found.low, found.high

    assert 0.93 <= _covered(1500, interval, 0.75) <= 0.975


@pytest.mark.slow
def test_the_bootstrap_interval_covers_the_difference():
    rng = np.random.default_rng(3)

    def interval():
        ease = rng.beta(1, 1, 40) * 0.8
        worse, better = rng.binomial(4, ease) / 4, rng.binomial(4, ease + 0.1) / 4
        return bootstrap_interval(better - worse, resamples=999, seed=int(rng.integers(1 << 30)))

    assert 0.92 <= _covered(600, interval, 0.1) <= 0.975


def test_the_coverage_check_finds_an_interval_that_ignores_questions():
    """The checker with wrong data: 16 samples taken for 16 questions cover far too rarely."""
    rng = np.random.default_rng(4)

    def interval():
        right = rng.binomial(16, rng.beta(0.5, 0.5, 30)).sum()
        return stats.binomtest(int(right), 480).proportion_ci(method="wilson")

    assert _covered(300, interval, 0.5) < 0.6


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_pass_at_k_is_the_mean_over_all_choices(k):
    correct, n = [0, 1, 3, 5], 5
    brute = [
        np.mean([any(i < c for i in chosen) for chosen in combinations(range(n), k)])
        for c in correct
    ]
    assert pass_at_k(correct, [n] * 4, k).value == pytest.approx(np.mean(brute), abs=1e-15)
    # the product form in which Chen et al. 2021 publish the estimator
    humaneval = [
        1 - np.prod(1 - k / np.arange(n - c + 1, n + 1)) if n - c >= k else 1.0 for c in correct
    ]
    assert pass_at_k(correct, [n] * 4, k).value == pytest.approx(np.mean(humaneval), abs=1e-12)


def test_pass_at_1_is_pass_at_k_with_one():
    assert pass_at_k([1, 2, 0], [3, 3, 3], 1) == pytest.approx(pass_at_1([1, 2, 0], [3, 3, 3]))


VOTES = (
    [("7", True), ("7.0", True), ("8", False), ("8", False), (None, False), ("9", False)],
    [("1", False), ("2", True), ("3", False), ("4", False), ("4", False), ("4", False)],
    [(None, False)] * 6,
    [("5", True)] * 6,
)


def _majority_by_hand(votes, k):
    def right(chosen):
        count: dict = {}
        for answer, ok in (votes[i] for i in chosen):
            if answer is not None:
                party = True if ok else answer
                count[party] = count.get(party, 0) + 1
        ahead = [party for party, n in count.items() if n == max(count.values())]
        return (True in ahead) / len(ahead) if ahead else 0.0

    return np.mean([right(chosen) for chosen in combinations(range(len(votes)), k)])


@pytest.mark.parametrize("k", range(1, 7))
def test_majority_is_the_mean_over_all_choices_with_fair_ties(k):
    for votes in VOTES:
        assert majority_at_k([votes], k).value == pytest.approx(
            _majority_by_hand(votes, k), abs=1e-14
        )


def test_majority_of_many_samples_is_quick_and_exact():
    votes = [("a", True)] * 20 + [(str(i % 9), False) for i in range(44)]
    assert majority_at_k([votes], 64).value == 1.0
    assert majority_at_k([votes], 1).value == pytest.approx(20 / 64)


def test_under_sampled_is_refused():
    with pytest.raises(
        ValueError, match=r"pass@4 is under-sampled: 1 of 2 questions have fewer than 4"
    ):
        pass_at_k([1, 1], [4, 3], 4)
    with pytest.raises(ValueError, match=r"majority@7 is under-sampled"):
        majority_at_k(VOTES, 7)
    with pytest.raises(ValueError, match="k is 0"):
        pass_at_k([1], [1], 0)


def test_mean_is_scipys_t_interval():
    values = np.random.default_rng(5).gamma(3, 100, 25)
    expected = stats.t.interval(0.95, 24, values.mean(), stats.sem(values))
    found = mean_estimate(values)
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(mean_estimate([3.0]).low)


def test_bootstrap_interval_is_the_one_of_its_own_resamples():
    """Against resampling written out, and against Student's t, which agrees for many well-behaved
    differences."""
    differences = np.random.default_rng(6).normal(0.1, 0.5, 400)
    found = bootstrap_interval(differences)
    rng = np.random.default_rng(7)
    means = differences[rng.integers(0, 400, (9999, 400))].mean(axis=1)
    assert found == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.004)
    assert found == pytest.approx(
        stats.t.interval(0.95, 399, differences.mean(), stats.sem(differences)), abs=0.004
    )
    scipys = stats.bootstrap(
        (differences,), np.mean, n_resamples=9999, rng=np.random.default_rng(0)
    )
    assert found == pytest.approx(tuple(scipys.confidence_interval), abs=1e-12)


def test_bootstrap_interval_at_its_edges():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bootstrap_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    assert np.isnan(bootstrap_interval([0.5])).all()
    assert bootstrap_interval([0.25] * 9 + [0.5], seed=1) == bootstrap_interval(
        [0.25] * 9 + [0.5], seed=1
    )
    low, high = bootstrap_interval([1.0, 0.0])
    assert (low, high) == (0.0, 1.0)
    with pytest.raises(ValueError, match="finite"):
        bootstrap_interval([0.1, float("nan")])


def test_sign_flip_test_gives_fishers_value_for_darwins_maize():
    """1,726 of 32,768 sums are at least as extreme (Fisher 1935: 863 on each side)."""
    found = sign_flip_test(DARWIN)
    assert found.exact and found.p == 1726 / 32768


def test_sign_flip_test_counts_every_flip():
    differences = np.asarray([0.5, -0.25, 0.25, 0.75, 0.0, 0.25, 0.0])
    flips = np.asarray([np.dot(signs, differences) for signs in product((-1, 1), repeat=7)])
    assert sign_flip_test(differences).p == np.mean(np.abs(flips) >= abs(differences.sum()) - 1e-12)


def test_sign_flip_test_of_single_answers_is_mcnemars():
    differences = [1.0] * 9 + [-1.0] * 3 + [0.0] * 40
    assert sign_flip_test(differences).p == pytest.approx(stats.binomtest(9, 12).pvalue, abs=1e-12)


def test_monte_carlo_p_value_is_near_the_exact_one_and_never_zero():
    differences = [1.0] * 24 + [-1.0] * 12
    found = sign_flip_test(differences)
    assert not found.exact
    assert found.p == pytest.approx(stats.binomtest(24, 36).pvalue, abs=0.01)
    assert sign_flip_test([1.0] * 100, resamples=999).p == pytest.approx(
        2 / 1000
    )  # (0 + 1) / (999 + 1), two-sided


def test_no_difference_is_no_evidence():
    assert sign_flip_test([0.0] * 30) == (1.0, True)
    assert sign_flip_test([0.5]) == (1.0, True)


@pytest.mark.slow
def test_p_values_are_uniform_where_methods_are_alike():
    """And the check finds a test that is told of a difference that is not there."""
    rng = np.random.default_rng(8)
    drawn = [rng.integers(-4, 5, 12) / 4 for _ in range(400)]
    assert np.mean([sign_flip_test(d).p <= 0.05 for d in drawn]) <= 0.07
    assert np.mean([sign_flip_test(d + 0.5).p <= 0.05 for d in drawn]) > 0.5


def test_holms_published_example():
    """Adjusted by hand in R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-15)
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).size == 0
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, 1.2])


@pytest.mark.parametrize(("effect", "questions"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_questions_needed_are_cohens(effect, questions):
    """Cohen's small, medium and large effect, paired, two-sided alpha 0.05, power 0.8, as G*Power
    gives them."""
    assert questions_needed(effect, 1.0) == questions
    assert paired_power(effect, 1.0, questions - 1) < 0.8 <= paired_power(effect, 1.0, questions)


def test_power_is_the_share_of_simulated_runs_that_find_the_gain():
    rng = np.random.default_rng(9)
    found = stats.ttest_1samp(rng.normal(0.5, 1, (20_000, 34)), 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(paired_power(0.5, 1.0, 34), abs=0.01)


@pytest.mark.parametrize("questions", [2, 3, 30, 500, 5000])
def test_smallest_gain_needs_as_many_questions_as_there_are(questions):
    gain = smallest_gain(0.4, questions)
    assert paired_power(gain, 0.4, questions) == pytest.approx(0.8, abs=1e-6)
    assert questions_needed(gain * 1.001, 0.4) <= questions <= questions_needed(gain * 0.999, 0.4)


def test_power_refuses_what_it_cannot_know():
    with pytest.raises(ValueError, match="sd is 0"):
        questions_needed(0.1, 0)
    with pytest.raises(ValueError, match="gain is 0"):
        questions_needed(0, 0.3)
    assert questions_needed(1e-6, 0.4) > 10**11


def test_only_common_questions_are_compared():
    matched = match_questions({"a": 0.5, "b": 1.0, "c": 0.0}, {"c": 0.5, "b": 0.75, "d": 1.0})
    assert matched.questions == ["b", "c"]
    assert matched.differences.tolist() == [-0.25, 0.5]
    assert matched.left_out == 2


@pytest.mark.parametrize(
    ("correct", "samples"), [([3], [2]), ([-1], [2]), ([0], [0]), ([], []), ([1, 1], [1])]
)
def test_impossible_counts_are_refused(correct, samples):
    with pytest.raises(ValueError):
        pass_at_1(correct, samples)
