"""Cases of the kernels: the same on references, compiled loops, in Triton's interpreter
(interpreted.py) and on a GPU.

Outputs and scratch are poisoned: whatever `torch.empty` returns is filled with nan, or with an id
that exists nowhere.
"""

import os

import pytest
import torch
from kernel_oracle import (
    assert_drawn,
    assert_samples,
    make_logits,
    make_params,
    make_pool,
    make_wide_params,
    mix,
)
from sglang_soft_kernels.mixture.naive import VocabShard
from sglang_soft_kernels.mixture.naive import embedding_mixture as mixture_operator

POISON = 1_999_999_999

MIXTURES = [  # T, H, K, table dtype
    (1, 1, 1, torch.float32),
    (5, 63, 3, torch.bfloat16),
    (33, 100, 10, torch.float16),
    (7, 1000, 10, torch.bfloat16),
    (3, 2050, 17, torch.float32),
    (2, 5120, 64, torch.bfloat16),
    (65, 48, 10, torch.float32),
]
SHARDS = [((0, 24), 0, (40, 46)), ((24, 40), 8, (46, 50))]
"""Two ranks of 40 original and 10 added ids, 24 + 6 rows of table each."""

SAMPLES = [  # B, V, kind, K, logits dtype
    (4, 1, "normal", 3, torch.float32),
    (4, 3, "ties", 10, torch.float32),
    (9, 111, "normal", 10, torch.float32),
    (6, 300, "zeros", 10, torch.float32),
    (6, 111, "masked", 10, torch.float32),
    (3, 111, "onehot", 10, torch.float32),
    (12, 130, "ties", 5, torch.float32),
    (6, 4097, "ties", 10, torch.float32),
    (4, 5000, "equal", 10, torch.float32),
    (4, 20_000, "normal", 64, torch.bfloat16),
    (3, 9_999, "equal", 64, torch.float32),
    (2, 151_936, "normal", 10, torch.float32),
    (1, 262_144, "ties", 15, torch.float32),
]


DRAWS = [  # A, V, kind, draws, logits dtype, largest rank that some draw must exceed
    (2, 1, "normal", 1, torch.float32, -1),
    (7, 3, "ties", 2, torch.float32, 0),
    (7, 111, "masked", 2, torch.float32, 0),
    (3, 111, "onehot", 1, torch.float32, -1),
    (7, 300, "zeros", 3, torch.float32, 128),
    (7, 1000, "flat", 2, torch.bfloat16, 256),
    (7, 4500, "equal", 2, torch.float32, 256),
    (7, 5000, "flat", 3, torch.float32, 256),
]


@pytest.fixture
def poisoned(monkeypatch):
    real = torch.empty

    def empty(*args, **kwargs):
        tensor = real(*args, **kwargs)
        return tensor.fill_(float("nan") if tensor.is_floating_point() else POISON)

    monkeypatch.setattr(torch, "empty", empty)


def check_mixture(run, T, H, K, dtype, device):
    V = 50
    table = torch.randn(V, H, dtype=dtype, device=device)
    table[V - 1] = float("nan")  # only unused slots point here
    ids, weights = make_pool(40, K, V - 1, seed=T, device=device)
    ids[weights == 0] = V - 1
    g = torch.Generator().manual_seed(H)
    rows = torch.randint(0, 40, (T,), generator=g).to(device)
    rows[0] = 1
    input_ids = torch.randint(0, V - 1, (T,), generator=g).to(device)
    soft = weights[rows, 0] != 0
    input_ids[soft] = 1 << 60  # a concept key: must not be read as an index
    out = run(table, input_ids, rows, ids, weights)
    want = torch.tensor(mix(table, input_ids, rows, ids, weights))
    assert torch.equal(out[~soft], table[input_ids[~soft]])
    assert_rounded_once(out.cpu().double(), want, dtype)
    precise = run(table, input_ids, rows, ids, weights, out_dtype=torch.float32)
    torch.testing.assert_close(precise.cpu().double(), want, rtol=0, atol=2e-6)


def check_offsets(run, T, H, K, dtype, device):
    """Offsets next to a mixture, in place of one, and left out (the other tensor-parallel ranks)."""
    V = 50
    table = torch.randn(V, H, dtype=dtype, device=device)
    ids, weights = make_pool(40, K, V, seed=T, device=device)
    has_offset = (torch.arange(40) % 4 == 0).to(
        device
    )  # rows 0, 12, 24, 36 have no mixture with it
    offsets = torch.randn(40, H, device=device).to(dtype)
    offsets[~has_offset] = float("nan")  # not to be touched
    rows = torch.randint(0, 40, (T,), generator=torch.Generator().manual_seed(H)).to(device)
    rows[0] = 12
    input_ids = torch.randint(0, V, (T,), generator=torch.Generator().manual_seed(T)).to(device)
    input_ids[has_offset[rows] | (weights[rows, 0] != 0)] = 1 << 60
    offset_args = {"offsets": offsets, "has_offset": has_offset}
    out = run(table, input_ids, rows, ids, weights, **offset_args)
    want = torch.tensor(mix(table, input_ids, rows, ids, weights, **offset_args))
    assert_rounded_once(out.cpu().double(), want, dtype)
    without = run(
        table,
        input_ids,
        rows,
        ids,
        weights,
        **offset_args,
        add_offsets=False,
        out_dtype=torch.float32,
    )
    want = torch.tensor(
        mix(table, input_ids, rows, ids, weights, None, torch.zeros_like(offsets), has_offset)
    )
    torch.testing.assert_close(without.cpu().double(), want, rtol=0, atol=2e-6)


def assert_rounded_once(got, want, dtype):
    """Half a unit in the last place, and the error of the float32 sum (terms of at most about
    4)."""
    ulp = torch.finfo(dtype).eps * torch.exp2(want.abs().clamp(min=2.0**-14).log2().floor())
    # Triton's interpreter truncates float32 to bfloat16 where a GPU rounds to the nearest.
    truncated = dtype == torch.bfloat16 and os.environ.get("TRITON_INTERPRET") == "1"
    assert ((got - want).abs() <= ulp * (1 if truncated else 0.5) + 2e-6).all()


def check_shards(run, device):
    """Partial sums of two ranks add up to the whole, and ids of the other rank never touch the
    local table."""
    H = 65
    table = torch.randn(50, H, device=device)
    ids, weights = make_pool(40, 6, 50, seed=7, device=device)
    rows = torch.arange(40, device=device)
    input_ids = torch.arange(40, device=device) + 5
    whole = mixture_operator.naive(table, input_ids, rows, ids, weights)
    total = torch.zeros_like(whole)
    for org, padding, added in SHARDS:
        local = torch.full((30, H), float("nan"), device=device)
        local[: org[1] - org[0]] = table[org[0] : org[1]]
        added_row = org[1] - org[0] + padding
        local[added_row : added_row + added[1] - added[0]] = table[added[0] : added[1]]
        shard = VocabShard(*org, padding, *added)
        part = run(local, input_ids, rows, ids, weights, shard=shard, out_dtype=torch.float32)
        want = torch.tensor(mix(local, input_ids, rows, ids, weights, (org, padding, added)))
        torch.testing.assert_close(part.cpu().double(), want, rtol=0, atol=2e-6)
        total += part
    torch.testing.assert_close(total, whole, rtol=0, atol=2e-6)


def check_samples(run, B, V, kind, K, dtype, device):
    logits = make_logits(B, V, kind, seed=V, dtype=dtype, device=device)
    params = make_params(B, K, seed=B + V, device=device)
    before = logits.clone()
    sample = run(logits, *params, k=K, top_k_bound=30)
    assert torch.equal(logits, before)
    assert_samples(sample, logits, params, K, tie_free_share=0.5)


def check_index_and_unfiltered(run, B, V, kind, K, dtype, device):
    """As `check_samples`; rows by index have the bits that they have in the whole batch, and asking
    for the distribution at temperature 1 changes nothing else."""
    logits = make_logits(B, V, kind, seed=V, dtype=dtype, device=device)
    params = make_params(B, K, seed=B + V, device=device)
    before = logits.clone()
    whole = run(logits, *params, k=K, top_k_bound=30)
    assert whole.unfiltered is None
    assert_samples(whole, logits, params, K, tie_free_share=0.5)
    m = min(V, K)
    for rows in ([*range(B)][::-1], [B - 1], []):
        index = torch.tensor(rows, dtype=torch.int64, device=device)
        own = [p[index] for p in params]
        some = run(logits, *own, k=K, top_k_bound=30, index=index, unfiltered=m)
        for got, want in zip(some[:4], whole):
            assert torch.equal(got, want[index])
        assert_unfiltered(some.unfiltered, logits[index].double().cpu(), m)
    assert torch.equal(logits, before)


def assert_unfiltered(unfiltered, z, m) -> None:
    """The softmax of z, [A, V] float64, without temperature and filter."""
    ids, ratios, entropy = (x.cpu() for x in unfiltered)
    want_ids = torch.sort(z + 0.0, dim=1, descending=True, stable=True).indices[:, :m]
    assert torch.equal(ids.long(), want_ids)
    p = z.softmax(1)
    want_ratios = p.gather(1, want_ids) / p.amax(1, keepdim=True)
    torch.testing.assert_close(ratios.double(), want_ratios, rtol=1e-5, atol=1e-30)
    want_entropy = -torch.special.xlogy(p, p).sum(1)
    torch.testing.assert_close(entropy.double(), want_entropy, rtol=3e-6, atol=3e-6)


def check_draws(run, A, V, kind, n, dtype, beyond, device):
    """Drawing from all that the filter keeps, far beyond k tokens; and top_k above the candidates'
    number. Every row alone and by index has the same bits."""
    k = 5
    logits = make_logits(A, V, kind, seed=V, dtype=dtype, device=device)
    params = make_wide_params(A, device)
    uniforms = torch.rand(A, n, generator=torch.Generator().manual_seed(V))
    uniforms[0, 0], uniforms[1:, -1] = 2.0**-24, 1 - 2.0**-24  # the latter: the last that is kept
    uniforms = uniforms.to(device)
    sample = run(logits, *params, k=k, uniforms=uniforms)
    assert assert_drawn(sample.drawn, logits, params, uniforms) > beyond
    # What else it returns is that of a step without draws: of the k most probable.
    narrow = [*params[:4], params[4].clamp(max=k)]
    assert_samples(sample, logits, narrow, k, tie_free_share=0.5)
    # A row's own size cuts what is fed, not what is drawn from.
    sizes = (torch.arange(A, device=device) % k + 1).int()
    sized = run(logits, *params, k=k, sizes=sizes, uniforms=uniforms)
    cut = run(logits, *params[:4], params[4].minimum(sizes), k=k)
    for got, want in zip((*sized[:4], *sized.drawn), (*cut[:4], *sample.drawn), strict=True):
        assert torch.equal(got, want)
    first, last = (torch.tensor([a], device=device) for a in (0, A - 1))
    plain = run(logits, *(p[first] for p in narrow), k=k, index=first)
    for got, want in zip(plain[:4], sample):
        assert torch.equal(got[0], want[0])
    own = [p[last] for p in params]
    alone = run(logits, *own, k=k, uniforms=uniforms[last], index=last)
    for got, want in zip((*alone[:4], *alone.drawn), (*sample[:4], *sample.drawn), strict=True):
        assert torch.equal(got[0], want[-1])


def check_batch_invariance(run, device):
    """Every row alone, and at another width of the partial sort, has the same bits."""
    B, V, K = 3, 4500, 10
    logits = make_logits(B, V, "normal", seed=3, device=device)
    params = make_params(B, K, seed=4, device=device)
    whole = run(logits, *params, k=K, top_k_bound=30)
    for bound in (100, None):
        for got, want in zip(run(logits, *params, k=K, top_k_bound=bound)[:4], whole):
            assert torch.equal(got, want)
    for b in range(B):
        alone = run(logits[b : b + 1], *(p[b : b + 1] for p in params), k=K, top_k_bound=30)
        for got, want in zip(alone[:4], whole):
            assert torch.equal(got[0], want[b])
