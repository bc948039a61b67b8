"""The kernel cases on a CUDA device, and what only a device can show."""

import blending_cases
import kernel_cases as cases
import pytest
import sglang_soft_kernels as kernels
import state_cases as states
import state_checks as checks
import stopping_cases
import torch
from kernel_cases import poisoned  # noqa: F401

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.usefixtures("poisoned"),
]


@pytest.mark.parametrize("case", cases.MIXTURES)
def test_mixture(case):
    cases.check_mixture(kernels.embedding_mixture, *case, "cuda")


@pytest.mark.parametrize("case", cases.MIXTURES)
def test_offsets(case):
    cases.check_offsets(kernels.embedding_mixture, *case, "cuda")


def test_shards():
    cases.check_shards(kernels.embedding_mixture, "cuda")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [*stopping_cases.SIZES, (9, 151_936)])
def test_logit_facts(size, dtype):
    stopping_cases.check_facts(kernels.logit_facts, *size, "cuda", dtype)


def test_logit_facts_of_a_row_alone():
    stopping_cases.check_a_row_alone(kernels.logit_facts, "cuda")


@pytest.mark.parametrize("case", [*cases.SAMPLES, (512, 1000, "ties", 10, torch.float32)])
def test_soft_sample(case):
    cases.check_samples(kernels.soft_sample, *case, "cuda")


@pytest.mark.parametrize("case", cases.SAMPLES[:10])
def test_index_and_unfiltered(case):
    cases.check_index_and_unfiltered(kernels.soft_sample, *case, "cuda")


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_index_of_a_step(case):
    operators = kernels.finish_step, kernels.overwrite_tokens, kernels.update_pool
    checks.check_index(*operators, case, "cuda")


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_finish_step(case):
    checks.check_finish_step(kernels.finish_step, case, "cuda")


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_next_state(case):
    checks.check_next_state(
        kernels.finish_step, kernels.overwrite_tokens, kernels.update_pool, case, "cuda"
    )


@pytest.mark.parametrize("case", cases.DRAWS)
def test_draws(case):
    cases.check_draws(kernels.soft_sample, *case, "cuda")


def test_batch_invariance():
    cases.check_batch_invariance(kernels.soft_sample, "cuda")


def test_uniforms():
    blending_cases.check_uniforms("cuda")


def test_distributions():
    blending_cases.check_distributions("cuda")


def test_gather_rows():
    blending_cases.check_gather_rows("cuda")


@pytest.mark.parametrize("options", blending_cases.OPTIONS, ids="-".join)
@pytest.mark.parametrize("size", blending_cases.SIZES)
def test_compose(size, options):
    blending_cases.check_compose(*size, options, "cuda")


@pytest.mark.parametrize("size", blending_cases.SIZES)
def test_normalised_entropy(size):
    blending_cases.check_entropy(*size, "cuda")


@pytest.mark.parametrize("size", blending_cases.SIZES)
def test_gate(size):
    blending_cases.check_gate(*size, "cuda")


@pytest.mark.parametrize("size", blending_cases.SIZES)
def test_merge_draws(size):
    blending_cases.check_merge_draws(*size, "cuda")


def test_switch_modes():
    blending_cases.check_switch_modes("cuda")


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_methods_of_a_batch(case):
    checks.check_methods_of_a_batch(kernels.finish_step, case, "cuda")


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_write_offsets(case):
    checks.check_write_offsets(kernels.finish_step, kernels.write_offsets, case, "cuda")


def test_no_host_synchronisation():
    logits, params, mixture = _step_inputs()
    for _ in range(2):  # the first call compiles
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            sample = kernels.soft_sample(logits, *params, k=10, top_k_bound=30)
            kernels.embedding_mixture(*mixture, sample.ids, sample.weights)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_cuda_graph_follows_the_data():
    """A captured step recomputes from the buffers' new content: soft rows may become plain and
    back."""
    logits, params, mixture = _step_inputs()
    weights_mask = torch.ones(8, 1, device="cuda")

    def step():
        sample = kernels.soft_sample(logits, *params, k=10, top_k_bound=30)
        return sample, kernels.embedding_mixture(
            *mixture, sample.ids, sample.weights * weights_mask
        )

    step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for seed in (1, 2):
        logits.copy_(cases.make_logits(8, 5000, "normal", seed))
        weights_mask.copy_((torch.arange(8) % (seed + 1) == 0)[:, None])
        graph.replay()
        sample, embeddings = step()
        assert torch.equal(captured[0].ids, sample.ids) and torch.equal(
            captured[0].weights, sample.weights
        )
        assert torch.equal(captured[1], embeddings)


def _step_inputs():
    logits = cases.make_logits(8, 5000, "normal", seed=0, device="cuda")
    params = cases.make_params(8, 10, seed=0, device="cuda")
    table = torch.randn(5000, 256, device="cuda", dtype=torch.bfloat16)
    tokens = torch.arange(8, device="cuda")
    return logits, params, (table, tokens, tokens)
