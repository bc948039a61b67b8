"""The bounds of controls: means are met on the records, and no length tells of its own question."""

from fractions import Fraction

import numpy as np
import pytest
from sglang_soft_evals import bounds


def lengths(questions: int = 40, samples: int = 4, seed: int = 0, most: int = 90) -> dict:
    rng = np.random.default_rng(seed)
    drawn = rng.integers(3, most, (questions, samples))
    return {(f"q{q}", s): int(drawn[q, s]) for q in range(questions) for s in range(samples)}


def shortened(plain: dict, share: float) -> dict:
    return {sample: int(length * share) for sample, length in plain.items()}


def mean_of(values) -> Fraction:
    values = list(values)
    return Fraction(sum(values), len(values))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.02, 0.3, 0.77, 0.99])
def test_a_budget_has_exactly_the_mean_of_the_rule(seed, share):
    plain = lengths(seed=seed)
    wanted = mean_of(shortened(plain, share).values())
    found = bounds.budget(plain, wanted, f"salt {seed}")
    given = {sample: found.of(sample) for sample in plain}
    assert mean_of(min(plain[s], given[s]) for s in plain) == wanted
    assert set(given.values()) <= {found.least, found.least + 1}
    assert bounds.budget(dict(reversed(plain.items())), wanted, f"salt {seed}") == found


def test_a_budget_is_that_of_the_formula_by_hand():
    plain = {("a", 0): 2, ("b", 0): 6, ("c", 0): 8, ("d", 0): 10}
    # mean(min(L, 4)) = 14/4 and mean(min(L, 5)) = 17/4: 15/4 is a third of the way
    found = bounds.budget(plain, Fraction(15, 4), "s")
    assert found.least == 4
    assert sum(min(plain[s], found.of(s)) for s in plain) == 15
    assert bounds.budget(plain, Fraction(14, 4), "s")[:2] == (4, "")
    assert bounds.budget(plain, Fraction(0), "s")[:2] == (0, "")
    with pytest.raises(ValueError, match="6.50 tokens is not below"):
        bounds.budget(plain, Fraction(26, 4), "s")


def test_who_has_one_token_more_is_not_chosen_by_length():
    """The longest thoughts have no better chance than those a little above the bound."""
    plain = lengths(questions=2000, samples=1)
    found = bounds.budget(plain, mean_of(plain.values()) * Fraction(3, 5), "s")
    longer = [s for s in plain if plain[s] > found.least]
    more = [found.of(s) > found.least for s in longer]
    assert 0.1 < np.mean(more) < 0.9
    correlation = np.corrcoef(more, [plain[s] for s in longer])[0, 1]
    assert abs(correlation) < 4 / len(longer) ** 0.5


@pytest.mark.parametrize("missing", [0, 30])
@pytest.mark.parametrize("seed", range(5))
def test_no_sample_keeps_the_length_of_its_own_question(seed, missing):
    samples = list(lengths(seed=seed))
    # every length names its question
    named = {(q, s): 1000 * int(q[1:]) + s for q, s in samples[missing:]}
    found = bounds.permuted(samples, named, f"salt {seed}")
    assert found.keys() == set(samples)
    for (question, _), length in found.items():
        assert f"q{length // 1000}" != question
    if not missing:
        assert sorted(found.values()) == sorted(named.values()), "a permutation"
        assert all(length % 1000 == s for (_, s), length in found.items())
    assert bounds.permuted(samples[::-1], named, f"salt {seed}") == found
    assert bounds.permuted(samples, named, "another") != found


def test_a_permutation_of_two_questions_swaps_them_and_one_has_none():
    plain = {("a", 0): 1, ("b", 0): 2}
    assert bounds.permuted(list(plain), plain, "s") == {("a", 0): 2, ("b", 0): 1}
    assert bounds.permuted([("a", 0), ("a", 1)], {("a", 0): 1, ("a", 1): 2}, "s") == {}
