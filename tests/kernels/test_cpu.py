"""The compiled loops for CPUs on the cases of every implementation."""

import blending_cases
import kernel_cases as cases
import pytest
import sglang_soft_kernels as kernels
import state_cases as states
import state_checks as checks
import torch
from kernel_cases import poisoned  # noqa: F401
from kernel_oracle import make_logits, make_params
from sglang_soft_kernels import compiled, dispatch, layout
from sglang_soft_kernels.layout import Filter
from sglang_soft_kernels.mixture import cpu as mixture
from sglang_soft_kernels.sampling import cpu as sampling
from sglang_soft_kernels.state import cpu as state

pytestmark = pytest.mark.usefixtures("poisoned")


@pytest.mark.parametrize("case", cases.MIXTURES)
def test_mixture(case):
    cases.check_mixture(mixture.embedding_mixture, *case, "cpu")


@pytest.mark.parametrize("case", cases.MIXTURES)
def test_offsets(case):
    cases.check_offsets(mixture.embedding_mixture, *case, "cpu")


def test_shards():
    cases.check_shards(mixture.embedding_mixture, "cpu")


@pytest.mark.parametrize("case", cases.SAMPLES)
def test_soft_sample(case):
    cases.check_samples(sampling.soft_sample, *case, "cpu")


@pytest.mark.parametrize("case", cases.SAMPLES)
def test_index_and_unfiltered(case):
    cases.check_index_and_unfiltered(sampling.soft_sample, *case, "cpu")


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_index_of_a_step(case):
    checks.check_index(state.finish_step, state.overwrite_tokens, state.update_pool, case, "cpu")


@pytest.mark.parametrize("kind", ["normal", "ties", "zeros", "masked"])
def test_sorting_a_whole_row_equals_insertion(kind):
    logits, params = make_logits(50, 500, kind, seed=1), make_params(50, 10, seed=1)
    inserted = sampling.soft_sample(logits, *params, k=10, top_k_bound=sampling.MAX_INSERTED)
    for top_k_bound in (sampling.MAX_INSERTED + 1, None):
        for got, want in zip(
            sampling.soft_sample(logits, *params, k=10, top_k_bound=top_k_bound)[:4], inserted
        ):
            assert torch.equal(got, want)


def test_all_of_a_row():
    """The candidates of a method that draws, without a filter."""
    logits, params = make_logits(8, 300, "ties", seed=1), list(make_params(8, 10, seed=1))
    params[4] = params[1]
    cases.assert_samples(sampling.soft_sample(logits, *params, k=300), logits, params, 300)


@pytest.mark.parametrize("case", cases.DRAWS)
def test_draws(case):
    cases.check_draws(sampling.soft_sample, *case, "cpu")


def test_batch_invariance():
    cases.check_batch_invariance(sampling.soft_sample, "cpu")


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_finish_step(case):
    checks.check_finish_step(state.finish_step, case, "cpu")


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_next_state(case):
    checks.check_next_state(
        state.finish_step, state.overwrite_tokens, state.update_pool, case, "cpu"
    )


@pytest.mark.parametrize("wrong", [-1, 4, 1 << 60])
def test_an_id_outside_the_table_is_an_error(wrong):
    """Compiled loops do not check indices by themselves."""
    row = torch.zeros(1, dtype=torch.int64)
    pool = torch.zeros(1, 2, dtype=torch.int32), torch.zeros(1, 2)
    with pytest.raises(IndexError, match="input id outside the embedding table"):
        mixture.embedding_mixture(torch.zeros(4, 8), row + wrong, row, *pool)
    if wrong < 2**31:
        with pytest.raises(IndexError, match="id of a concept token outside"):
            mixture.embedding_mixture(torch.zeros(4, 8), row, row, pool[0] + wrong, pool[1] + 0.5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_row_without_a_distribution_harms_no_other_row(value):
    logits, params = make_logits(3, 50, "normal", seed=1), make_params(3, 10, seed=1)
    whole = sampling.soft_sample(logits, *params, k=10, top_k_bound=30)
    logits[1] = value
    broken = sampling.soft_sample(logits, *params, k=10, top_k_bound=30)
    for got, want in zip(broken[:4], whole):
        assert torch.equal(got[::2], want[::2])
    assert broken.entropy[1].isnan() and (broken.ids >= 0).all() and (broken.ids < 50).all()


def test_the_largest_temperature_leaves_forbidden_tokens_out():
    row = Filter.of(temperature=1e39, top_k=5, top_p=1.0, min_p=0.0, num_candidates=5)
    logits = torch.tensor([[0.5, float("-inf"), 1.0, float("-inf"), 0.0]])
    for run in (sampling.soft_sample, kernels.soft_sample.naive):
        sample = run(logits, *(torch.tensor([x]) for x in row), k=5, top_k_bound=5)
        assert sample.ids[0, :3].tolist() == [2, 0, 4]
        assert torch.allclose(sample.weights[0], torch.tensor([1 / 3, 1 / 3, 1 / 3, 0, 0]))


def test_rows_of_another_batch_are_refused():
    """Compiled loops do not check shapes by themselves."""
    inputs = states.make_inputs(states.Case(7, 3, 0, False), "cpu")
    record = state.finish_step(*inputs[:7], **inputs.fixed)
    with pytest.raises(AssertionError, match="different batches"):
        state.overwrite_tokens(record, torch.zeros(8, dtype=torch.int64))
    with pytest.raises(AssertionError, match="different batches"):
        state.finish_step(*inputs[:6], inputs.floats[:5], **inputs.fixed)
    with pytest.raises(IndexError, match="think-end outside the vocabulary"):
        state.finish_step(*inputs[:4], inputs.logits[:, :1], *inputs[5:7], **inputs.fixed)


def test_cpu_tensors_come_here():
    found = dispatch._load("sglang_soft_kernels.sampling.cpu", "soft_sample")
    assert found is sampling.soft_sample and not dispatch.uses_triton(torch.zeros(1))


def test_without_a_folder_to_keep_machine_code_in(monkeypatch):
    def njit(function, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return function

    monkeypatch.setattr(compiled.numba, "njit", njit)
    assert compiled.compiled(len) is len


def test_machine_code_is_not_shared_by_two_layouts():
    """Numba keeps machine code by source file and closure; columns are part of the closure."""
    moved = state._overwrite_loop(layout.KIND + 1, layout.TOKEN, 0)
    same = state._overwrite_loop(layout.KIND, layout.TOKEN, 0)
    keys = [
        loop._cache._index_key(("sig",), loop.targetctx.codegen())
        for loop in (state.overwrite_loop, moved, same)
    ]
    assert keys[0] != keys[1] and keys[0] == keys[2]


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_methods_of_a_batch(case):
    checks.check_methods_of_a_batch(state.finish_step, case, "cpu")


def test_gamma_variates():
    blending_cases.check_distributions("cpu")


@pytest.mark.parametrize("size", [1, 255, 257, 49_152])
@pytest.mark.parametrize("T", [0.05, 0.6, 1.0, 30.0])
def test_sums_over_a_vocabulary(size, T):
    """Sizes around a block of the loop; logits so far down that their probability is 0."""
    g = torch.Generator().manual_seed(size)
    row = torch.randn(size, generator=g) * 10
    row[1::7] = -float("inf")
    x = row.double() / T
    p = x.softmax(0)
    want = -torch.special.xlogy(p, p).sum()
    Z, entropy = sampling.sums(row.numpy(), row.max().numpy()[()], torch.tensor(T).numpy()[()])
    assert pytest.approx(float((x - x.max()).exp().sum()), rel=1e-6) == Z
    assert entropy == pytest.approx(float(want), rel=1e-6, abs=1e-6)


def test_a_certain_row_has_no_entropy():
    row = torch.full((1000,), -200.0)
    row[3] = 0.0
    sums = sampling.sums(row.numpy(), row[3].numpy()[()], torch.tensor(1.0).numpy()[()])
    assert sums == (1.0, 0.0)
