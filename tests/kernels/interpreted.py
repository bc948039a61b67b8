"""The kernel cases in Triton's interpreter.

Not collected by name: test_interpreter.py runs this file in a process of its own, because
TRITON_INTERPRET counts only if it is set before triton is imported, and SGLang imports triton.
"""

import os

assert os.environ.get("TRITON_INTERPRET") == "1", "run through test_interpreter.py"

import kernel_cases as cases  # noqa: E402
import pytest  # noqa: E402
import sglang_soft_kernels as kernels  # noqa: E402
import state_cases as states  # noqa: E402
import torch  # noqa: E402
from kernel_cases import poisoned  # noqa: E402, F401
from sglang_soft_kernels import mixture_triton, sampling_triton, state_triton  # noqa: E402
from triton.runtime.interpreter import InterpretedFunction  # noqa: E402

pytestmark = pytest.mark.usefixtures("poisoned")


def test_kernels_are_interpreted():
    for module in (mixture_triton, sampling_triton, state_triton):
        kernels_of_module = [
            value for name, value in vars(module).items() if name.endswith("_kernel")
        ]
        assert kernels_of_module and all(
            isinstance(kernel, InterpretedFunction) for kernel in kernels_of_module
        )


@pytest.mark.parametrize("case", cases.MIXTURES)
def test_vectors(case):
    cases.check_vectors(kernels.embedding_mixture, *case, "cpu")


@pytest.mark.parametrize("case", cases.MIXTURES)
def test_mixture(case):
    cases.check_mixture(kernels.embedding_mixture, *case, "cpu")


def test_shards():
    cases.check_shards(kernels.embedding_mixture, "cpu")


@pytest.mark.parametrize("case", cases.SAMPLES)
def test_soft_sample(case):
    cases.check_samples(kernels.soft_sample, *case, "cpu")


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_decide(case):
    states.check_decide(kernels.decide, case, "cpu")


@pytest.mark.parametrize("case", states.CASES, ids=str)
def test_next_state(case):
    states.check_next_state(kernels.decide, kernels.merge, kernels.advance, case, "cpu")


def test_batch_invariance():
    cases.check_batch_invariance(kernels.soft_sample, "cpu")


def test_wide_top_k():
    """max_top_k at the kernels' limit, and above it (the reference runs)."""
    logits = cases.make_logits(2, 9000, "ties", seed=1)
    params = list(cases.make_params(2, 10, seed=1))
    params[0] = torch.tensor([0.6, 1.0])
    params[2] = torch.tensor([0.9, 0.95])
    for top_k in (128, 1000):
        params[1] = torch.tensor([top_k, top_k - 1], dtype=torch.int32)
        params[4] = torch.tensor([10, 7], dtype=torch.int32)
        sample = kernels.soft_sample(logits, *params, K=10, max_top_k=top_k)
        cases.assert_samples(sample, logits, params, 10)


def test_mixture_refuses_wide_pools():
    with pytest.raises(ValueError, match=r"K = 65 .* 1\.\.64"):
        kernels.embedding_mixture(
            torch.zeros(4, 4), torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64),
            torch.zeros(1, 65, dtype=torch.int32), torch.zeros(1, 65),
        )  # fmt: skip
