"""Cases of the noise and of the methods' arithmetic: a kernel against the specification.

In Triton's interpreter (interpreted.py) and on a GPU. The specification itself is held against
tests/oracle/ through the methods (tests/unit/test_noise.py, tests/engine).
"""

from typing import Any

import sglang_soft_kernels as kernels
import torch
from sglang_soft_kernels import layout
from sglang_soft_kernels.noise import naive as noise

SIZES = [(0, 3), (1, 1), (5, 3), (9, 17), (4, 63), (6, 64)]
"""Rows and slots."""


def check_uniforms(device: str) -> None:
    """The same bits, for every seed, stream, dtype and shape of the lanes."""
    seeds = torch.tensor([0, 1, -1, 2**62 + 3, -(2**63), 2**63 - 1])
    positions = torch.tensor([0, 1, 2, 77, 100_000, 2**31 - 2], dtype=torch.int32)
    flat = torch.tensor([0, 1, 5, 151_935, 2**31, 2**32 - 1])
    wide = torch.arange(6 * 300, dtype=torch.int32).view(6, 300)
    for stream in (0, 16 + 29, 1024, 2**20):
        for lanes in (flat, wide):
            want = kernels.uniform.naive(seeds, positions, stream, lanes)
            inputs = seeds.to(device), positions.to(device), stream, lanes.to(device)
            assert torch.equal(kernels.uniform(*inputs).cpu(), want)


def check_distributions(device: str) -> None:
    """Gumbel, normal and gamma variates, up to rounding of log and cos."""
    g = torch.Generator().manual_seed(1)
    seeds, positions = torch.arange(40) - 7, torch.arange(40, dtype=torch.int32)
    lanes = torch.randint(0, 150_000, (40, 33), generator=g, dtype=torch.int32)
    where = seeds.to(device), positions.to(device)
    for operator in (kernels.gumbel, kernels.normal):
        want = operator.naive(seeds, positions, 3, lanes)
        got = operator(*where, 3, lanes.to(device)).cpu()
        torch.testing.assert_close(got, want, rtol=2e-5, atol=2e-6)
    shape = torch.rand(40, 33, generator=g) * 10.0 ** torch.randint(-2, 3, (40, 1), generator=g)
    shape[::3, 5:] = 0.0
    want = kernels.log_gamma.naive(seeds, positions, 16, 2, shape, lanes)
    got = kernels.log_gamma(*where, 16, 2, shape.to(device), lanes.to(device)).cpu()
    torch.testing.assert_close(got, want, rtol=2e-5, atol=2e-5)
    assert (got[::3, 5:] == float("-inf")).all() and got[:, :5].isfinite().all()


def check_gather_rows(device: str) -> None:
    g = torch.Generator().manual_seed(2)
    table = torch.randint(-(2**31), 2**31 - 1, (9, 90), generator=g, dtype=torch.int32)
    table[:, layout.THINK_STEP] = torch.arange(9)
    for rows in ([], [4], [8, 1, 5, 2]):
        index = torch.tensor(rows, dtype=torch.int64)
        for draws in (0, 1, 64):
            want = kernels.gather_rows.naive(table, index, draws, 3)
            got = kernels.gather_rows(table.to(device), index.to(device), draws, 3)
            for x, y in zip(got, want, strict=True):
                assert x.shape == y.shape and torch.equal(x.cpu(), y)
            seeds = noise.seeds_of(table[index])
            steps, lanes = table[index, layout.THINK_STEP], torch.arange(draws)
            assert torch.equal(want[1], kernels.uniform.naive(seeds, steps, 3, lanes))


def slots(A: int, k: int) -> dict[str, torch.Tensor]:
    """Distinct tokens in each row, and columns that are parts of wider tensors."""
    g = torch.Generator().manual_seed(100 * A + k)
    ids = torch.stack([torch.randperm(500, generator=g)[: k + 2] for _ in range(A + 1)])[:A]
    scores = torch.rand(A, k + 3, generator=g)[:, :k]
    scores = scores.sort(1, descending=True).values
    table = torch.randint(1, k + 1, (A, 7), generator=g, dtype=torch.int32)
    ids = ids.int()[:, :k]
    at = torch.randint(0, k, (A, 1), generator=g)
    return {
        "ids": ids, "scores": scores, "max_topk": table[:, 3],
        "soft": torch.rand(A, generator=g) < 0.6,
        "drawn": torch.where(torch.rand(A, generator=g) < 0.5, ids.gather(1, at)[:, 0], 700).int(),
        "token": torch.where(torch.rand(A, generator=g) < 0.5, ids.gather(1, at)[:, 0], 600).int(),
        "share": torch.rand(A, 3, generator=g)[:, 1] * 1.5,
        "temperature": torch.rand(A, 3, generator=g)[:, 2] + 0.1,
        "shown": (torch.rand(A, 3, generator=g) < 0.5).float()[:, 0],
        "guarded": torch.rand(A, generator=g) < 0.7, "alone": torch.rand(701, generator=g) < 0.5,
    }  # fmt: skip


OPTIONS: list[tuple[str, ...]] = [
    (), ("softmax",), ("softmax", "temperature"), ("soft", "drawn"), ("token", "share"),
    ("soft", "drawn", "token", "share"), ("soft", "drawn", "token", "share", "keep_drawn"),
    ("soft", "drawn", "shown"),
    ("soft", "drawn", "shown", "guarded", "alone", "token", "share"),
    ("soft", "drawn", "guarded", "alone", "token", "share", "keep_drawn"),
]  # fmt: skip


def check_compose(A: int, k: int, options: tuple[str, ...], device: str) -> None:
    made = slots(A, k)
    named: dict[str, Any] = {name: made[name] for name in options if name in made}
    if "softmax" in options:
        named["softmax"] = True
    if "keep_drawn" in options:
        named["blend_drawn"] = False
    inputs = [made[name] for name in ("ids", "scores", "max_topk")]
    if k > 3:
        inputs[1][:, 1:3] = inputs[1][:, :1]  # equal ones stay in order
    want = kernels.compose.naive(*inputs, **named)

    def moved(x):
        return x.to(device) if isinstance(x, torch.Tensor) else x

    there = [moved(x) for x in inputs], {name: moved(x) for name, x in named.items()}
    got = kernels.compose(*there[0], **there[1])
    _same_slots(got[:2], want[:2])
    assert torch.equal(got.output_token.cpu(), want.output_token)
    for a in range(A):  # alone, and next to slots that no row uses: the same bits
        own = [x[a : a + 1] for x in there[0]]
        if k < 60:
            own[:2] = [torch.nn.functional.pad(x, (0, 3)) for x in own[:2]]
        parts = {
            n: x[a : a + 1] if isinstance(x, torch.Tensor) and n != "alone" else x
            for n, x in there[1].items()
        }
        alone = kernels.compose(*own, **parts)
        used = int((got.weights[a] != 0).sum())
        assert torch.equal(alone.ids[0, :used], got.ids[a, :used])
        assert torch.equal(alone.weights[0, :used], got.weights[a, :used])
        assert not alone.weights[0, used:].any()


def _same_slots(got, want) -> None:
    """Ids and weights: the same up to rounding, used slots first, no unused one with a weight."""
    ids, weights = (x.cpu() for x in got)
    assert ids.shape == weights.shape == want[0].shape
    torch.testing.assert_close(weights, want[1], rtol=2e-6, atol=1e-7)
    used = want[1] != 0
    assert torch.equal(weights != 0, used)
    assert torch.equal(ids[used], want[0][used])


def check_entropy(A: int, k: int, device: str) -> None:
    made = slots(A, k)
    p = torch.where(torch.arange(k) < made["max_topk"][:, None], made["scores"], 0.0)
    p = p / p.sum(1, keepdim=True)
    inputs = p.to(device), made["max_topk"].to(device)
    got = kernels.normalised_entropy(*inputs)
    want = kernels.normalised_entropy.naive(p, made["max_topk"])
    torch.testing.assert_close(got.cpu(), want, rtol=3e-6, atol=1e-6)
    for a in range(A):
        alone = kernels.normalised_entropy(*(x[a : a + 1] for x in inputs))
        assert torch.equal(alone[0], got[a])


def check_gate(A: int, k: int, device: str) -> None:
    made = slots(A, k)
    p = torch.where(torch.arange(k) < made["max_topk"][:, None], made["scores"], 0.0)
    p = p / p.sum(1, keepdim=True)
    h = kernels.normalised_entropy.naive(p, made["max_topk"])
    args = torch.zeros(A, 5)[:, :4]
    args[:, 0] = h + torch.tensor([0.01, -0.01]).repeat(A)[:A]  # above it, below it
    args[::3, 0], args[:, 1], args[1::2, 2] = 0.0, 0.5, 1.0
    inputs = p, made["max_topk"], args
    want = kernels.gate_by_entropy.naive(*inputs)
    got = kernels.gate_by_entropy(*(x.to(device) for x in inputs))
    assert torch.equal(got.soft.cpu(), want.soft) and torch.equal(got.guarded.cpu(), want.guarded)
    torch.testing.assert_close(got.share.cpu(), 1 + 0.5 * h, rtol=3e-6, atol=1e-6)
    if A > 2:
        assert set(want.soft.tolist()) == set(want.guarded.tolist()) == {True, False}


def check_merge_draws(A: int, n: int, device: str) -> None:
    """Few ranks, so that many draws are of one token, and exact shares: counts of draws."""
    g = torch.Generator().manual_seed(n)
    ranks = torch.randint(0, max(2, n // 2), (A, n), generator=g, dtype=torch.int32)
    probs = torch.rand(400, generator=g).sort(descending=True).values[ranks.long()]
    counts = torch.randint(1, n + 1, (A, 2), generator=g, dtype=torch.int32)[:, 0]
    by_probability = (torch.rand(A, 3, generator=g) < 0.5).float()[:, 1]
    inputs = [ranks + 1000, ranks, probs, counts, by_probability]
    want = kernels.merge_draws.naive(*inputs)
    there = [x.to(device) for x in inputs]
    got = kernels.merge_draws(*there)
    _same_slots(got, want)
    for a in range(A):
        alone = kernels.merge_draws(*(x[a : a + 1] for x in there))
        for x, y in zip(alone, got, strict=True):
            assert torch.equal(x[0], y[a])


def check_match_norm(device: str) -> None:
    """Up to the order of a sum; a row has the same bits alone, and an unused one is 0."""
    for A, H in ((0, 8), (1, 1), (3, 100), (9, 1024), (4, 2500)):
        g = torch.Generator().manual_seed(H)
        hidden = torch.randn(A, H + 3, generator=g)[:, :H] * 10
        hidden[1:2] = 0  # shorter than what it is divided by
        used = torch.arange(A) % 3 != 2
        for dtype, flags in ((torch.float32, None), (torch.bfloat16, used)):
            hidden = hidden.to(torch.float32 if flags is None else dtype)
            want = kernels.match_norm.naive(hidden, 2.5, dtype, flags)
            there = hidden.to(device), None if flags is None else flags.to(device)
            got = kernels.match_norm(there[0], 2.5, dtype, there[1])
            assert got.dtype == dtype
            rtol = 1e-5 if dtype == torch.float32 else 8e-3
            torch.testing.assert_close(got.cpu(), want, rtol=rtol, atol=1e-6)
            for a in range(A):
                own = None if flags is None else there[1][a : a + 1]
                alone = kernels.match_norm(there[0][a : a + 1], 2.5, dtype, own)
                assert torch.equal(alone[0], got[a])
        lengths = kernels.match_norm.naive(hidden, 2.5, torch.float32).norm(dim=1)  # of bfloat16
        assert torch.allclose(lengths[2:], torch.full_like(lengths[2:], 2.5))


def check_leave_latent(device: str) -> None:
    """Every branch, exactly."""
    A, g = 400, torch.Generator().manual_seed(6)

    def some(*values: float) -> torch.Tensor:
        return torch.tensor(values)[torch.randint(0, len(values), (A,), generator=g)]

    args = torch.stack([some(0, 2, 7), some(1, 2), some(0, 1), some(5)], 1)
    ints = torch.zeros((A, layout.INT_COLUMNS), dtype=torch.int32)
    ints[:, layout.THINK_STEP] = some(0, 1, 2, 6).int()
    ids = torch.stack([some(3, 4), some(5, 6)], 1).int()
    state, stops = torch.stack([some(0, 1), some(0, 1)], 1)[:, :1], torch.arange(9) == 4
    inputs = some(0.5, 1, 1.5, 2.5), state, args, ints, ids[:, 0], ids[:, 1], stops
    want = kernels.leave_latent.naive(*inputs)
    got = kernels.leave_latent(*(x.to(device) for x in inputs))
    for x, y in zip(got, want, strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape and torch.equal(x.cpu(), y)
    assert set(want.ids[want.latent].unique().tolist()) == {3, 4}, "one stops at step 0 only"
    assert set(want.ids[~want.latent].unique().tolist()) == {5, 6}
    assert torch.equal(want.weights[:, 0], (~want.latent).float())
    assert torch.equal(want.state[:, 0], want.latent.float())


def check_switch_modes(device: str) -> None:
    """Every branch, exactly."""
    A, g = 400, torch.Generator().manual_seed(5)

    def some(*values: float) -> torch.Tensor:
        return torch.tensor(values)[torch.randint(0, len(values), (A,), generator=g)]

    entropy = some(0.5, 1.0, 1.5)
    state = torch.stack(
        [some(0, 1), some(0.5, 1.0, 1.5), some(0, 1, 2, 5), some(0, 1, 2), some(0, 1)], 1
    )
    state = torch.nn.functional.pad(state, (0, 1))
    inf = float("inf")
    args = [some(1, 3), some(0, 0.25), some(0.5, 1), some(1, 2, inf), some(0.75, 1)]
    args += [some(9, inf), some(0, 1), some(0, 1), some(0, 1), some(0, 1.25), some(0.75, inf)]
    args = torch.stack(args, 1)
    ints = torch.zeros((A, layout.INT_COLUMNS), dtype=torch.int32)
    ints[:, layout.THINK_STEP] = some(0, 16, 64, 100).int()
    ints[:, layout.MAX_NEW_TOKENS], ints[:, layout.THINK_START] = 64, 5
    ints[:, layout.THINK_END] = 6
    inputs = entropy, state, args, ints
    want = kernels.switch_modes.naive(*inputs)
    got = kernels.switch_modes(*(x.to(device) for x in inputs))
    for x, y in zip(got, want, strict=True):
        assert x.dtype == y.dtype and torch.equal(x.cpu(), y)
    assert (want.share < 1).any() and set(want.marker.tolist()) == {5, 6, 9}
    explicit = want.state[:, 0] == 0
    for flag in (want.force_end, want.soft, want.guarded, want.soft & explicit):
        assert flag.any() and not flag.all()
