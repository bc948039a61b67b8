"""What is compiled at start is all that requests can ask for."""

import random

import numba
import pytest
import torch

from sglang_soft import methods
from sglang_soft import stopping as rules
from sglang_soft.engine.embedding import EmbeddingFacts, mix
from sglang_soft.engine.inputs import decode_embed, graph_embed, prepare
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.step import concept_step
from sglang_soft.engine.warmup import warmup
from sglang_soft.params import Sampling
from tests.issue_table import row
from tests.unit.soft_request import soft_request
from tests.variants import Recorder

V, HIDDEN, MAX_K = 300, 8, 32


class Model:
    """What `warmup` reads of a `SoftModel`."""

    facts = EmbeddingFacts(HIDDEN, torch.float32, 1.0, 1.0)

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
        rule = rng.choice([None, *(r for r in rules.registry().values() if not r.fused)])
        by = methods.get(name).realigned_by
        own = {by: rng.choice([False, True])} if by else {}
        own["stop"] = None if rule is None else rule.Params()
        batch.append(soft_request(name, max_topk=k, thinking=sampling, **own))
    if any(batch):
        one_step(batch, rng.choice([torch.int32, torch.int64]))


def one_step(batch: list, token_dtype: torch.dtype = torch.int64) -> None:
    matrix = torch.eye(HIDDEN)
    pool = ConceptPool(9, MAX_K, "cpu", hidden_size=HIDDEN, realignment=lambda: matrix)
    rows = torch.arange(1, len(batch) + 1)
    pool.start(rows.tolist(), batch)
    inputs = prepare(pool, rows, batch)
    hidden = torch.zeros(len(batch), HIDDEN) if inputs.reads_hidden else None
    step = concept_step(inputs, torch.randn(len(batch), V), hidden)
    tokens = torch.zeros(len(batch), dtype=token_dtype)
    step.overwrite_tokens(tokens)
    step.update_pool(tokens)
    for embed in (decode_embed(inputs, rows), graph_embed(pool, rows)):
        mix(Model.embedding, torch.zeros(len(batch), dtype=torch.int64), embed)


@pytest.fixture
def loops(monkeypatch) -> list[numba.core.dispatcher.Dispatcher]:
    """The compiled loops, with nothing compiled in this process."""
    from sglang_soft_kernels.mixture import cpu as mixture
    from sglang_soft_kernels.noise import cpu as noise
    from sglang_soft_kernels.sampling import cpu as sampling
    from sglang_soft_kernels.state import cpu as state
    from sglang_soft_kernels.stopping import cpu as stopping

    found = []
    for module, name in (
        (sampling, "sample_loop"), (state, "finish_loop"), (state, "overwrite_loop"),
        (state, "update_loop"), (mixture, "mixture_loop"),
        (noise, "log_gamma_loop"), (stopping, "facts_loop"),
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


@row(
    "A4",
    "the first soft request, a new max_topk",
    "Triton compiled in the scheduler's loop",
    "nothing is compiled after the start",
)
def test_no_request_compiles_a_triton_kernel_after_start(monkeypatch):
    """Kernels are recorded with their compile-time values in place of being run."""
    from sglang_soft_kernels import dispatch
    from sglang_soft_kernels.blending import triton as blending
    from sglang_soft_kernels.latent import triton as latent
    from sglang_soft_kernels.mixture import triton as mixture
    from sglang_soft_kernels.noise import triton as noise
    from sglang_soft_kernels.sampling import triton as sampling
    from sglang_soft_kernels.state import triton as state
    from sglang_soft_kernels.stopping import triton as stopping

    variants: dict[str, set[str]] = {}
    monkeypatch.setattr(dispatch, "uses_triton", lambda tensor: True)
    for module in (mixture, sampling, state, noise, blending, stopping, latent):
        for name in [name for name in vars(module) if name.endswith("_kernel")]:
            recorder = Recorder(getattr(module, name), variants.setdefault(name, set()))
            monkeypatch.setattr(module, name, recorder)
    # The tokens and flags of a step that was not computed are arbitrary; methods read them.
    monkeypatch.setattr(torch, "empty", torch.zeros)
    warmup(Model, V, "cpu", MAX_K)
    compiled = {name: set(keys) for name, keys in variants.items()}
    assert all(compiled.values()), "a kernel that no method reaches"
    for name in methods.names():
        for k in range(1, MAX_K - methods.get(name).extra_slots + 1):
            for top_k in (-1, 1, 17, 500):
                sampling_params = Sampling(0.6, 0.95, top_k, 0.0)
                request = soft_request(name, max_topk=k, thinking=sampling_params)
                one_step([request] * (1 + k % 2))
                assert variants == compiled, (name, k, top_k)
    for seed in range(200):
        ask_anything(seed)
    assert variants == compiled
