"""The kernel cases in Triton's interpreter.

Not collected by name: test_interpreter.py runs this file in a process of its own, because
TRITON_INTERPRET counts only if it is set before triton is imported, and SGLang imports triton.
"""

import os

assert os.environ.get("TRITON_INTERPRET") == "1", "run through test_interpreter.py"

import blending_cases  # noqa: E402
import kernel_cases as cases  # noqa: E402
import pytest  # noqa: E402
import sglang_soft_kernels as kernels  # noqa: E402
import state_cases as states  # noqa: E402
import state_checks as checks  # noqa: E402
import stopping_cases  # noqa: E402
import torch  # noqa: E402
from kernel_cases import poisoned  # noqa: E402, F401
from sglang_soft_kernels.blending import triton as blending  # noqa: E402
from sglang_soft_kernels.mixture import triton as mixture  # noqa: E402
from sglang_soft_kernels.noise import triton as noise  # noqa: E402
from sglang_soft_kernels.sampling import triton as sampling  # noqa: E402
from sglang_soft_kernels.state import triton as state  # noqa: E402
from sglang_soft_kernels.stopping import triton as stopping  # noqa: E402
from triton.runtime.interpreter import InterpretedFunction  # noqa: E402

from tests.unit import step_cases  # noqa: E402

pytestmark = pytest.mark.usefixtures("poisoned")


def test_kernels_are_interpreted():
    for module in (mixture, sampling, state, noise, blending, stopping):
        kernels_of_module = [
            value for name, value in vars(module).items() if name.endswith("_kernel")
        ]
        assert kernels_of_module and all(
            isinstance(kernel, InterpretedFunction) for kernel in kernels_of_module
        )


@pytest.mark.parametrize("case", cases.MIXTURES)
def test_offsets(case):
    cases.check_offsets(kernels.embedding_mixture, *case, "cpu")


@pytest.mark.parametrize("case", cases.MIXTURES)
def test_mixture(case):
    cases.check_mixture(kernels.embedding_mixture, *case, "cpu")


def test_shards():
    cases.check_shards(kernels.embedding_mixture, "cpu")


INDEXED = [cases.SAMPLES[i] for i in (1, 3, 4, 7, 9)]


@pytest.mark.parametrize("case", [case for case in cases.SAMPLES if case not in INDEXED])
def test_soft_sample(case):
    cases.check_samples(kernels.soft_sample, *case, "cpu")


@pytest.mark.parametrize("case", INDEXED)
def test_index_and_unfiltered(case):
    cases.check_index_and_unfiltered(kernels.soft_sample, *case, "cpu")


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_index_of_a_step(case):
    operators = kernels.finish_step, kernels.overwrite_tokens, kernels.update_pool
    checks.check_index(*operators, case, "cpu")


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_finish_step(case):
    checks.check_finish_step(kernels.finish_step, case, "cpu")


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_next_state(case):
    checks.check_next_state(
        kernels.finish_step, kernels.overwrite_tokens, kernels.update_pool, case, "cpu"
    )


@pytest.mark.parametrize("case", [cases.DRAWS[i] for i in (0, 2, 5, 6)])
def test_draws(case):
    cases.check_draws(kernels.soft_sample, *case, "cpu")


def test_batch_invariance():
    cases.check_batch_invariance(kernels.soft_sample, "cpu")


def test_wide_top_k():
    """top_k_bound at the kernels' width, and above it (the mass of the top_k is searched)."""
    logits = cases.make_logits(2, 9000, "ties", seed=1)
    params = list(cases.make_params(2, 10, seed=1))
    params[0] = torch.tensor([0.6, 1.0])
    params[2] = torch.tensor([0.9, 0.95])
    for top_k in (128, 1000):
        params[1] = torch.tensor([top_k, top_k - 1], dtype=torch.int32)
        params[4] = torch.tensor([10, 7], dtype=torch.int32)
        sample = kernels.soft_sample(logits, *params, k=10, top_k_bound=top_k)
        cases.assert_samples(sample, logits, params, 10)


def test_mixture_refuses_wide_pools():
    with pytest.raises(ValueError, match=r"k = 65 .* 1\.\.64"):
        kernels.embedding_mixture(
            torch.zeros(4, 4), torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64),
            torch.zeros(1, 65, dtype=torch.int32), torch.zeros(1, 65),
        )  # fmt: skip


@pytest.mark.parametrize("size", stopping_cases.SIZES)
def test_logit_facts(size):
    stopping_cases.check_facts(kernels.logit_facts, *size, "cpu")


def test_logit_facts_of_a_row_alone():
    stopping_cases.check_a_row_alone(kernels.logit_facts, "cpu")


def test_uniforms():
    blending_cases.check_uniforms("cpu")


def test_distributions():
    blending_cases.check_distributions("cpu")


def test_gather_rows():
    blending_cases.check_gather_rows("cpu")


@pytest.mark.parametrize("options", blending_cases.OPTIONS, ids="-".join)
@pytest.mark.parametrize("size", blending_cases.SIZES)
def test_compose(size, options):
    blending_cases.check_compose(*size, options, "cpu")


@pytest.mark.parametrize("size", blending_cases.SIZES)
def test_normalised_entropy(size):
    blending_cases.check_entropy(*size, "cpu")


@pytest.mark.parametrize("size", blending_cases.SIZES)
def test_gate(size):
    blending_cases.check_gate(*size, "cpu")


@pytest.mark.parametrize("size", blending_cases.SIZES)
def test_merge_draws(size):
    blending_cases.check_merge_draws(*size, "cpu")


def test_switch_modes():
    blending_cases.check_switch_modes("cpu")


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_methods_of_a_batch(case):
    checks.check_methods_of_a_batch(kernels.finish_step, case, "cpu")


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_write_offsets(case):
    checks.check_write_offsets(kernels.finish_step, kernels.write_offsets, case, "cpu")


# The third takes the interpreter half a minute; test_wide_top_k has its own path.
@pytest.mark.parametrize("sampling", step_cases.SAMPLINGS[:2], ids=lambda s: f"top_k={s.top_k}")
def test_steps_of_every_method(sampling, monkeypatch):
    step_cases.check_steps(sampling, "cpu", monkeypatch)
