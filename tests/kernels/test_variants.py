"""What a request can choose never makes Triton compile: counted by the keys of Triton's own cache.

Kernels are recorded in place of being run, so no GPU is needed.
"""

import itertools
import os
from collections import defaultdict

import pytest
import sglang_soft_kernels as kernels
import torch
from sglang_soft_kernels import dispatch, layout
from sglang_soft_kernels.sequences import DELIMITER_COLUMNS

if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("interpreted functions have no variants", allow_module_level=True)

from sglang_soft_kernels.blending import triton as blending
from sglang_soft_kernels.latent import triton as latent
from sglang_soft_kernels.mixture import triton as mixture
from sglang_soft_kernels.noise import triton as noise
from sglang_soft_kernels.sampling import triton as sampling
from sglang_soft_kernels.state import triton as state

from tests.variants import Recorder

V, H, R, MAX_K = 300, 48, 9, 32


@pytest.fixture
def variants(monkeypatch) -> dict[str, set[str]]:
    """Keys by kernel."""
    found: dict[str, set[str]] = defaultdict(set)
    for module in (sampling, state, mixture, noise, blending, latent):
        for name in [name for name in vars(module) if name.endswith("_kernel")]:
            recorder = Recorder(getattr(module, name), found[name.removesuffix("_kernel")])
            monkeypatch.setattr(module, name, recorder)
    monkeypatch.setattr(dispatch, "uses_triton", lambda tensor: True)
    return found


def parameters(A: int, strided: bool) -> tuple[torch.Tensor, ...]:
    """As columns of a pool's rows, or each a tensor of its own."""
    rows = torch.zeros(A, layout.INT_COLUMNS + 4, dtype=torch.int32)
    ints, floats = rows[:, : layout.INT_COLUMNS], rows[:, layout.INT_COLUMNS :].view(torch.float32)
    columns = (floats[:, 0], ints[:, 0], floats[:, 1], floats[:, 2], ints[:, 1])
    return columns if strided else tuple(c.contiguous() for c in columns)


def test_sampling(variants):
    logits = torch.zeros(5, V)
    for A, strided, unfiltered, k, bound, n in itertools.product(
        (1, 3, 5), (True, False), (0, 1, 7), range(1, 65, 7),
        (0, 1, 16, 17, 30, 33, 64, 100, 128, 129, 1000, None), (None, 1, 16),
    ):  # fmt: skip
        kernels.soft_sample(
            logits, *parameters(A, strided), k=k, top_k_bound=bound, unfiltered=min(unfiltered, k),
            index=None if A == 5 else torch.arange(5)[5 - A :],
            uniforms=None if n is None else torch.zeros(A, n),
        )  # fmt: skip
    assert {name: len(keys) for name, keys in variants.items() if keys} == {
        "scan": 2,  # with and without the entropy at temperature 1
        "finish": 4,  # 16, 32, 64 and 128 candidates
        "total": 1,
        "draw": 1,
    }


def test_state(variants):
    for A, k, S, forced, wide, dtype in itertools.product(
        (1, 2, 5), (1, 2, 10, 16, 33, 64), (0, 1, 5), (True, False), (0, 3),
        (torch.int32, torch.int64),
    ):  # fmt: skip
        ids = torch.zeros(A, k + wide, dtype=torch.int32)[:, :k]
        ints = torch.zeros(A, layout.INT_COLUMNS + wide, dtype=torch.int32)
        delimiters = torch.zeros(R, DELIMITER_COLUMNS + wide, dtype=torch.int32)
        record = kernels.finish_step(
            ids, torch.zeros(A, k), ids[:, -1], torch.zeros(A), torch.zeros(5, V), ints,
            torch.zeros(A, 4 + wide), rows=torch.arange(A), delimiters=delimiters, force_end=torch.zeros(A, dtype=torch.bool) if forced else None,
            state=torch.zeros(A, S) if S else None, index=None if A == 5 else torch.arange(A),
        )  # fmt: skip
        index = None if A == 5 else torch.arange(5)[-A:]
        tokens = torch.zeros(5 + wide, dtype=dtype)[wide:]
        kernels.overwrite_tokens(record, tokens, index)
        pool = torch.zeros(R, MAX_K, dtype=torch.int32), torch.zeros(R, MAX_K)
        pool_ints = torch.zeros(R, layout.INT_COLUMNS, dtype=torch.int32)
        if k <= MAX_K:
            kernels.update_pool(
                record, tokens, ints, torch.arange(A), *pool, pool_ints, torch.zeros(R, 8),
                delimiters, index,
            )  # fmt: skip
    assert {name: len(keys) for name, keys in variants.items() if keys} == {
        "finish_step": 1,
        "overwrite_tokens": 2,  # tokens of 32 and of 64 bits
        "update_pool": 2,
    }


def test_mixture(variants):
    table = torch.zeros(V, H)
    offsets, has_offset = torch.zeros(R, H), torch.zeros(R, dtype=torch.bool)
    for T, k, wide, offset in itertools.product(
        (1, 3, 16), (1, 2, 4, 7, 8, 10, 16, 17, 64), (0, 3, 16), (True, False)
    ):
        tokens = torch.zeros(T + 1, dtype=torch.int64)[1:]
        ids = torch.zeros(R, k + wide, dtype=torch.int32)[:, :k]
        weights = torch.zeros(R, k + wide)[:, :k]
        extra = {"offsets": offsets, "has_offset": has_offset} if offset else {}
        kernels.embedding_mixture(table, tokens, tokens, ids, weights, **extra)
    assert {name: len(keys) for name, keys in variants.items() if keys} == {"mixture": 2}


def test_the_count_sees_a_new_variant(variants):
    """Another dtype of the logits is one; so the recorder is not blind."""
    for dtype in (torch.float32, torch.bfloat16):
        kernels.soft_sample(
            torch.zeros(2, V, dtype=dtype), *parameters(2, True), k=4, top_k_bound=9
        )
    assert len(variants["scan"]) == len(variants["finish"]) == 2


def test_latent(variants):
    """A model has one dtype; what is realigned comes in float32."""
    for A, size, wide in itertools.product((1, 3, 16), (1, 48, 64, 2500), (0, 1, 3, 16)):
        flags = torch.zeros(A, dtype=torch.bool)
        for used, dtype in itertools.product((None, flags), (torch.float32, torch.bfloat16)):
            hidden = torch.zeros(A, size + wide, dtype=dtype)[:, wide:]
            kernels.match_norm(hidden, 1.0 + wide, torch.bfloat16, used)
        table = torch.zeros(A, 30 + 2 * wide, dtype=torch.int32)
        ints, floats = table[:, wide:], table.view(torch.float32)
        stops, ids = torch.zeros(9 + wide, dtype=torch.bool), torch.zeros(A, 2 + wide).int()
        kernels.leave_latent(
            floats[:, 0].contiguous(), floats[:, :1], floats[:, 1:], ints, ids[:, 0], ids[:, 1],
            stops,
        )  # fmt: skip
    assert {name: len(keys) for name, keys in variants.items() if keys} == {
        "match_norm": 2,
        "leave_latent": 1,
    }


def test_noise_and_blending(variants):
    for A, k, wide in itertools.product((1, 3, 16), (1, 2, 7, 16, 17, 63, 64), (0, 3, 16)):
        table = torch.zeros(A, 30 + 2 * wide, dtype=torch.int32)
        ints, floats = table[:, wide:], table.view(torch.float32)
        ids = torch.zeros(A, k + wide, dtype=torch.int32)[:, wide:]
        scores, flags = torch.zeros(A, k), torch.zeros(A, dtype=torch.bool)
        kernels.gather_rows(table, torch.arange(A), k, wide)
        seeds, steps = torch.zeros(A, dtype=torch.int64), ints[:, layout.THINK_STEP]
        for lanes in (ids, torch.arange(k)):
            kernels.normal(seeds, steps, wide, lanes)
            kernels.gumbel(seeds, steps, wide, lanes)
        kernels.log_gamma(seeds, steps, 16, 2, scores, ids)
        own, drawn = ints[:, 0], ids[:, 0]
        kernels.compose(ids, scores, own, softmax=True, temperature=floats[:, 1])
        kernels.compose(ids, scores, own, soft=flags, drawn=drawn)
        kernels.compose(
            ids, scores, own, soft=flags, drawn=drawn, shown=floats[:, 4], guarded=flags,
            alone=torch.zeros(9 + wide, dtype=torch.bool),
        )  # fmt: skip
        kernels.gate_by_entropy(scores, own, floats)
        kernels.compose(ids, scores, own, token=drawn, share=floats[:, 3], blend_drawn=False)
        kernels.normalised_entropy(scores, own)
        kernels.merge_draws(ids, ids, scores, own, floats[:, 2])
        kernels.switch_modes(scores[:, 0].contiguous(), floats[:, :6], floats, ints)
    assert {name: len(keys) for name, keys in variants.items() if keys} == {
        "gather_rows": 1, "noise": 2, "log_gamma": 1, "compose": 1, "normalised_entropy": 1,
        "gate_by_entropy": 1, "merge_draws": 1, "switch_modes": 1,
    }  # fmt: skip
