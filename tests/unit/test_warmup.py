"""What is compiled at start is all that requests can ask for."""

import random

import numba
import pytest
import torch

from sglang_soft import methods
from sglang_soft.engine.embedding import EmbeddingFacts, mix
from sglang_soft.engine.inputs import decode_embed, graph_embed, prepare
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.step import concept_step
from sglang_soft.engine.warmup import warmup
from sglang_soft.params import Sampling
from tests.unit.soft_request import soft_request

V, HIDDEN, MAX_K = 300, 8, 32


class Model:
    """What `warmup` reads of a `SoftModel`."""

    facts = EmbeddingFacts(HIDDEN, torch.float32, 1.0)

    class embedding:
        weight = torch.zeros(V, HIDDEN)
        tp_size = 1
        output_dtype = None


def ask_anything(seed: int) -> None:
    """One decode step of a random batch, on the real pool."""
    rng = random.Random(seed)
    batch = []
    for _ in range(rng.choice([1, 2, 5])):
        name = rng.choice([*methods.names(), None])
        if name is None:
            batch.append(None)
            continue
        k = rng.randint(1, MAX_K - methods.get(name).extra_slots)
        top_k = rng.choice([-1, 1, 17, 30, 100, 500])
        sampling = Sampling(rng.choice([0.3, 1.0]), rng.choice([0.9, 1.0]), top_k, 0.0)
        batch.append(soft_request(name, max_topk=k, thinking=sampling))
    if not any(batch):
        return
    pool, rows = ConceptPool(9, MAX_K, "cpu", hidden_size=HIDDEN), torch.arange(1, len(batch) + 1)
    pool.start(rows.tolist(), batch)
    inputs = prepare(pool, rows, batch)
    hidden = torch.zeros(len(batch), HIDDEN) if inputs.reads_hidden else None
    step = concept_step(inputs, torch.randn(len(batch), V), hidden)
    tokens = torch.zeros(len(batch), dtype=rng.choice([torch.int32, torch.int64]))
    step.overwrite_tokens(tokens)
    step.update_pool(tokens)
    for embed in (decode_embed(inputs, rows), graph_embed(pool, rows)):
        mix(Model.embedding, torch.zeros(len(batch), dtype=torch.int64), embed)


@pytest.fixture
def loops(monkeypatch) -> list[numba.core.dispatcher.Dispatcher]:
    """The compiled loops, with nothing compiled in this process."""
    from sglang_soft_kernels.mixture import cpu as mixture
    from sglang_soft_kernels.sampling import cpu as sampling
    from sglang_soft_kernels.state import cpu as state

    found = []
    for module, name in (
        (sampling, "sample_loop"), (state, "finish_loop"), (state, "overwrite_loop"),
        (state, "update_loop"), (mixture, "mixture_loop"),
    ):  # fmt: skip
        loop = numba.njit(getattr(module, name).py_func, error_model="numpy")
        monkeypatch.setattr(module, name, loop)
        found.append(loop)
    return found


@pytest.mark.slow
def test_no_request_compiles_a_loop_after_start(loops):
    warmup(Model, V, "cpu", MAX_K)
    before = [len(loop.signatures) for loop in loops]
    assert all(before)
    for seed in range(200):
        ask_anything(seed)
    assert [len(loop.signatures) for loop in loops] == before


def test_no_request_compiles_a_triton_kernel_after_start(monkeypatch):
    """Kernels are recorded with their compile-time values in place of being run."""
    from sglang_soft_kernels import dispatch
    from sglang_soft_kernels.mixture import triton as mixture
    from sglang_soft_kernels.sampling import triton as sampling
    from sglang_soft_kernels.state import triton as state

    variants: set[tuple] = set()

    class Recorded:
        def __init__(self, kernel) -> None:
            self.kernel = kernel

        def __getitem__(self, grid):
            return self.record

        def record(self, *args, **constants) -> None:
            dtypes = tuple(str(a.dtype) for a in args if isinstance(a, torch.Tensor))
            fixed = self.kernel.do_not_specialize or ()
            ones = tuple(
                name
                for name, value in zip(self.kernel.arg_names, args)
                if isinstance(value, int) and name not in fixed and value == 1
            )
            variants.add((self.kernel.__name__, *sorted(constants.items()), dtypes, ones))

    monkeypatch.setattr(dispatch, "uses_triton", lambda tensor: True)
    for module in (mixture, sampling, state):
        for name in [name for name in vars(module) if name.endswith("_kernel")]:
            monkeypatch.setattr(module, name, Recorded(getattr(module, name)))
    # The tokens and flags of a step that was not computed are arbitrary; methods read them.
    monkeypatch.setattr(torch, "empty", torch.zeros)
    warmup(Model, V, "cpu", MAX_K)
    compiled = set(variants)
    assert {v[0] for v in compiled} == {
        "scan_kernel", "total_kernel", "finish_kernel", "draw_kernel", "finish_step_kernel", "overwrite_tokens_kernel",
        "update_pool_kernel", "mixture_kernel",
    }  # fmt: skip
    for seed in range(200):
        ask_anything(seed)
    assert variants == compiled
