"""Soft sampling's specification against float64, rule by rule."""

import kernel_cases as cases
import pytest
import torch
from kernel_oracle import assert_drawn, assert_samples, make_logits, make_params, make_wide_params
from sglang_soft_kernels.layout import MIN_PROB_RATIO, TOP_K_OFF, Filter
from sglang_soft_kernels.sampling.naive import row_sum, sorted_ids
from sglang_soft_kernels.sampling.naive import soft_sample as operator

soft_sample = operator.naive


@pytest.mark.parametrize("case", [*cases.SAMPLES, (512, 111, "normal", 10, torch.float32)])
def test_equals_float64(case):
    cases.check_samples(soft_sample, *case, "cpu")


@pytest.mark.parametrize("kind", ["normal", "ties", "masked"])
@pytest.mark.parametrize("V", [111, 1000])
def test_full_sort_equals_partial_sort(kind, V):
    logits, params = make_logits(50, V, kind, seed=5), make_params(50, 10, seed=6)
    everything = soft_sample(logits, *params, k=10)
    for top_k_bound in (30, 77):
        for got, want in zip(
            soft_sample(logits, *params, k=10, top_k_bound=top_k_bound)[:4], everything
        ):
            assert torch.equal(got, want)


@pytest.mark.parametrize("case", cases.SAMPLES[:8])
def test_index_and_unfiltered(case):
    cases.check_index_and_unfiltered(soft_sample, *case, "cpu")


@pytest.mark.parametrize("case", cases.DRAWS)
def test_draws(case):
    cases.check_draws(soft_sample, *case, "cpu")


def test_batch_invariance():
    cases.check_batch_invariance(soft_sample, "cpu")


def test_double_precision_is_closer_than_float32():
    logits, params = make_logits(20, 1000, "normal", seed=8), make_params(20, 10, seed=9)
    single = soft_sample(logits, *params, k=10)
    double = soft_sample(logits, *params, k=10, dtype=torch.float64)
    assert double.weights.dtype == double.entropy.dtype == torch.float64
    torch.testing.assert_close(single.entropy.double(), double.entropy, rtol=3e-6, atol=3e-6)
    assert_samples(double, logits, params, 10)


def test_ties_go_to_the_smaller_id():
    logits = torch.tensor([[1.0, 3.0, -0.0, 3.0, 0.0, 3.0]])
    assert sorted_ids(logits, 6).tolist() == [[1, 3, 5, 0, 2, 4]]
    assert sorted_ids(logits, 2).tolist() == [[1, 3]]
    equal = torch.zeros(3, 5000)
    assert torch.equal(sorted_ids(equal, 40), torch.arange(40).expand(3, 40))


def test_order_is_that_of_the_logits_where_probabilities_round_to_equal():
    low, high = torch.tensor(1e-20), torch.tensor(2e-20)
    assert torch.equal((low - high).exp(), torch.tensor(1.0))
    assert sorted_ids(torch.stack([low, high])[None], 2).tolist() == [[1, 0]]


def test_one_hot_row_has_entropy_zero():
    logits = make_logits(2, 200, "onehot", seed=0)
    sample = soft_sample(logits, *make_params(2, 4, seed=2), k=4)
    assert (sample.entropy == 0).all() and (sample.weights[:, 0] == 1).all()
    assert (sample.ids == logits.argmax(1, keepdim=True)).all()


def test_greedy_row_measures_entropy_at_temperature_one():
    logits = make_logits(1, 300, "normal", seed=3).expand(2, -1)
    rows = [Filter.of(1.0, 1, 1.0, 0.0, 5), Filter.of(1.0, -1, 1.0, 0.0, 5)]
    sample = soft_sample(logits, *(torch.tensor(column) for column in zip(*rows)), k=5)
    assert sample.entropy[0] == sample.entropy[1]
    assert sample.weights[0].tolist() == [1, 0, 0, 0, 0] and (sample.weights[1] > 0).all()
    assert (sample.ids[0] == sample.ids[1, 0]).all()


def test_sglang_says_off_in_its_own_words():
    off = Filter.of(temperature=0.6, top_k=-1, top_p=1.0, min_p=0.0, num_candidates=10)
    assert off == (0.6, TOP_K_OFF, float("inf"), MIN_PROB_RATIO, 10)
    assert Filter.of(0.6, 0, 1.0, 0.0, TOP_K_OFF) == (
        0.6,
        TOP_K_OFF,
        float("inf"),
        MIN_PROB_RATIO,
        TOP_K_OFF,
    )
    assert Filter.of(0.6, 1 << 40, 0.95, 0.01, 10) == (0.6, TOP_K_OFF, 0.95, 0.01, 10)
    assert Filter.of(1.0, 3, 0.95, 0.01, 10) == (1.0, 3, 0.95, 0.01, 3)
    assert Filter.of(1.0, 3, 0.99999999, 0.01, 10).top_p == float("inf"), "as float32 it is 1"
    below_one = 1 - 2**-24
    assert torch.tensor(below_one).item() == Filter.of(1.0, 3, below_one, 0.01, 10).top_p < 1


@pytest.mark.parametrize("V", [128, 1000, 151_936])
def test_row_sum_does_not_depend_on_the_batch(V):
    x = torch.rand(3, V)
    whole = row_sum(x)
    for b in range(3):
        assert torch.equal(row_sum(x[b : b + 1])[0], whole[b])
    torch.testing.assert_close(whole.double(), x.double().sum(1), rtol=1e-6, atol=0)


def test_the_comparison_itself_rejects_wrong_samples():
    logits, params = make_logits(4, 111, "normal", seed=1), make_params(4, 10, seed=30)
    sample = soft_sample(logits, *params, k=10)
    assert_samples(sample, logits, params, 10)
    for wrong in (
        sample._replace(entropy=sample.entropy + 1e-3),
        sample._replace(ids=sample.ids.roll(1, 1)),
        sample._replace(weights=torch.full_like(sample.weights, 0.1)),
    ):
        with pytest.raises(AssertionError):
            assert_samples(wrong, logits, params, 10)


def test_the_comparison_itself_rejects_wrong_draws():
    logits, params = make_logits(4, 300, "flat", seed=1), make_wide_params(4)
    uniforms = torch.rand(4, 8, generator=torch.Generator().manual_seed(0))
    drawn = soft_sample(logits, *params, k=5, uniforms=uniforms).drawn
    assert_drawn(drawn, logits, params, uniforms)
    one_on = drawn.ranks.clamp(max=3) + 1
    order = sorted_ids(logits, 300)
    for wrong in (
        drawn._replace(ids=drawn.ids.roll(1, 1)),
        drawn._replace(probs=drawn.probs * 1.01),
        drawn._replace(ranks=one_on, ids=order.gather(1, one_on.long()).int()),
    ):
        with pytest.raises(AssertionError):
            assert_drawn(wrong, logits, params, uniforms)
