"""Independent float64 implementations in numpy, one row and one rule at a time, and the inputs to
compare on.

Nothing here is shared with the code under test. `min_margin` says how far a row is from a threshold
of its filter: where rounding decides whether a token stays, float32 may differ from float64 and the
row is not compared.
"""

from typing import NamedTuple

import numpy as np
import torch

SMALLEST_NORMAL = 2.0**-126
MARGIN = 1e-5
TOP_K_OFF = 2**31 - 1
"""top_k that is off"""


class Row(NamedTuple):
    ids: list[int]
    weights: list[float]
    entropy: float
    max_prob: float
    min_margin: float


def sample_row(z, temperature, top_k, top_p, min_p, n) -> Row:
    """SPEC of one soft step: sort, top-k, renormalise, top-p, renormalise, min-p, n largest,
    renormalise."""
    z = np.asarray(z, dtype=np.float64)
    V = len(z)
    e = np.exp((z - z.max()) / temperature)
    p = e / e.sum()
    positive = p[p > 0]
    entropy = float(-(positive * np.log(positive)).sum())
    order = sorted(range(V), key=lambda i: (-z[i], i))
    order = [i for i in order if e[i] >= SMALLEST_NORMAL]
    margins = [abs(np.log(e[i] / SMALLEST_NORMAL)) for i in range(V) if e[i] > 0]
    kept = order[:top_k]
    q = p[kept] / p[kept].sum()
    before = np.cumsum(q) - q
    if np.isfinite(top_p):
        # Not at 0: the first token has no rounding in its exclusive sum.
        margins += [abs(b - top_p) for b in before[1 : n + 1]]
        kept = [i for i, b in zip(kept, before) if b <= top_p]
    ratio = p[kept] / p[kept].max()
    margins += [abs(r - min_p) for r in ratio[1:n]] if min_p > SMALLEST_NORMAL else []
    kept = [i for i, r in zip(kept, ratio) if r >= min_p][:n]
    w = p[kept] / p[kept].sum()
    return Row(kept, w.tolist(), entropy, float(p.max()), float(min(margins)))


def assert_samples(sample, logits, params, K, *, tie_free_share=0.7) -> None:
    """Every row of a SoftSample equals the oracle's: ids exactly, weights and entropy to float32
    rounding."""
    ids, weights, entropy, max_prob = (t.cpu().numpy() for t in sample[:4])
    z = logits.float().cpu().numpy()
    compared = 0
    for b, row_params in enumerate(zip(*(p.tolist() for p in params))):
        expected = sample_row(z[b], *row_params)
        scale = max(1.0, expected.entropy)
        assert abs(entropy[b] - expected.entropy) <= 3e-6 * scale, (b, entropy[b], expected)
        assert abs(max_prob[b] / expected.max_prob - 1) <= 3e-5, (b, max_prob[b], expected)
        assert np.isfinite(weights[b]).all() and abs(weights[b].sum() - 1) < 2e-6, (b, weights[b])
        assert ids[b, 0] == expected.ids[0], (b, ids[b], expected)
        if expected.min_margin < MARGIN:
            continue
        compared += 1
        used = len(expected.ids)
        want = expected.ids + [expected.ids[0]] * (K - used)
        assert ids[b].tolist() == want, (b, row_params, ids[b].tolist(), expected)
        # exp of a float32 gap: the relative error grows with the gap over the temperature.
        np.testing.assert_allclose(weights[b, :used], expected.weights, rtol=3e-5, atol=1e-6)
        assert (weights[b, used:] == 0).all()
    assert compared >= tie_free_share * len(z), (
        "too many rows sit on a threshold: choose other parameters"
    )


def assert_drawn(drawn, logits, params, uniforms, tolerance=2e-5) -> int:
    """Every drawn token is the one at which the exact distribution function passes its uniform
    number, within a tolerance: far out a token is less probable than float32 sums are exact.
    Returns the largest rank."""
    ids, ranks, probs = (t.cpu().numpy() for t in drawn)
    z, uniforms = logits.double().cpu().numpy(), uniforms.cpu().numpy()
    equal, skipped = [], 0
    for a, row_params in enumerate(zip(*(p.tolist() for p in params))):
        expected = sample_row(z[a], *row_params)
        order = sorted(range(z.shape[1]), key=lambda i: (-z[a, i], i))
        if expected.min_margin < MARGIN and expected.weights[-1] > tolerance / 2:
            skipped += 1  # the last token that is kept may be another one, and it counts
            continue
        upper = np.cumsum(expected.weights)
        assert order[: len(upper)] == expected.ids
        for draw, u in enumerate(uniforms[a]):
            rank, case = ranks[a, draw], (a, draw, row_params)
            assert ids[a, draw] == order[rank], case
            last = min(rank, len(upper) - 1)  # where the filter ends may be rounded too
            assert rank == last or u > 1 - tolerance, case
            lower = upper[last] - expected.weights[last]
            assert lower - tolerance <= u <= upper[last] + tolerance, case
            assert abs(probs[a, draw] / expected.weights[last] - 1) < 1e-4, case
            equal.append(rank == min(np.searchsorted(upper, u, side="right"), len(upper) - 1))
    assert skipped <= len(z) / 2, "too many rows sit on a threshold: choose other parameters"
    assert np.mean(equal) > 0.9, "too few draws are the exact ones"
    return int(ranks.max())


def make_params(B: int, K: int, seed: int, device="cpu"):
    """Parameters of B rows: every filter on and off, greedy rows, temperatures from 1e-4 to 3."""
    g = np.random.default_rng(seed)
    temperature = g.choice([1e-4, 0.3, 0.6, 1.0, 3.0], B, p=[0.05, 0.2, 0.4, 0.25, 0.1])
    top_k = g.choice([1, 2, 7, 30, TOP_K_OFF], B, p=[0.2, 0.15, 0.15, 0.2, 0.3])
    top_p = g.choice([0.1, 0.5173, 0.9, 0.95, 0.999, np.inf], B)
    min_p = g.choice([SMALLEST_NORMAL, 0.001, 0.0517, 0.3], B)
    n = np.minimum(g.integers(1, K + 1, B), top_k)
    # Columns of larger tensors, as a concept pool hands them over: strides are not 1.
    floats = torch.tensor(
        np.stack([temperature, top_p, min_p], 1), dtype=torch.float32, device=device
    )
    ints = torch.tensor(np.stack([top_k, n], 1), dtype=torch.int32, device=device)
    return floats[:, 0], ints[:, 0], floats[:, 1], floats[:, 2], ints[:, 1]


def make_wide_params(A: int, device="cpu"):
    """Parameters of rows that draw from all that their filter keeps: hundreds of tokens."""
    rows = [  # temperature, top_p, min_p, top_k, n
        (1.0, np.inf, SMALLEST_NORMAL, TOP_K_OFF, TOP_K_OFF),
        (3.0, 0.9003, SMALLEST_NORMAL, 300, 300),
        (0.6, np.inf, SMALLEST_NORMAL, 300, 300),
        (3.0, np.inf, 0.3, TOP_K_OFF, TOP_K_OFF),
        (1.0, 0.9901, SMALLEST_NORMAL, TOP_K_OFF, TOP_K_OFF),
        (3.0, 0.8003, SMALLEST_NORMAL, TOP_K_OFF, 200),
        (0.6, 0.7003, SMALLEST_NORMAL, 7, 7),
    ]
    columns = list(zip(*(rows[a % len(rows)] for a in range(A))))
    temperature, top_p, min_p = (
        torch.tensor(x, dtype=torch.float32, device=device) for x in columns[:3]
    )
    top_k, n = (torch.tensor(x, dtype=torch.int32, device=device) for x in columns[3:])
    return temperature, top_k, top_p, min_p, n


def make_logits(
    B: int, V: int, kind: str, seed: int, dtype=torch.float32, device="cpu"
) -> torch.Tensor:
    """[B, V]: "normal", "flat", "ties", "zeros" (of both signs), "equal", "onehot" or "masked" (few
    are finite)."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(B, V, generator=g) * 4
    if kind == "flat":
        z = z / 4
    elif kind == "ties":
        z = (z / 3).round()
    elif kind == "zeros":
        z = (z / 4).round().clamp(-1, 0) * torch.tensor([1.0, -0.0]).repeat(V)[:V]
    elif kind == "equal":
        z = torch.full((B, V), 1.25)
    elif kind == "onehot":
        z = torch.full((B, V), -float("inf"))
        z[torch.arange(B), torch.randint(0, V, (B,), generator=g)] = -3.0
    elif kind == "masked":
        finite = torch.rand(B, V, generator=g).argsort(1)[:, : min(V, 5)]
        z = torch.full((B, V), -float("inf")).scatter(1, finite, z.gather(1, finite))
    return z.to(device=device, dtype=dtype)


def mix(
    table, input_ids, rows, ids, weights, shard=None, offsets=None, has_offset=None
) -> np.ndarray:
    """Float64 embedding mixture, [T, H]. shard: (original interval, padding, added interval)."""
    table = table.double().cpu().numpy()
    rows, ids, input_ids = rows.tolist(), ids.tolist(), input_ids.tolist()
    weights = weights.double().cpu().numpy()

    def embedding(i):
        if shard is None:
            return table[i]
        (org0, org1), padding, (added0, added1) = shard
        if org0 <= i < org1:
            return table[i - org0]
        if added0 <= i < added1:
            return table[org1 - org0 + padding + i - added0]
        return np.zeros(table.shape[1])

    out = np.zeros((len(rows), table.shape[1]))
    for t, r in enumerate(rows):
        vector = has_offset is not None and bool(has_offset[r])
        if weights[r, 0] == 0 and not vector:
            out[t] = embedding(input_ids[t])
            continue
        out[t] = sum(w * embedding(i) for i, w in zip(ids[r], weights[r]) if w != 0)
        if vector:
            out[t] += offsets[r].double().cpu().numpy()
    return out


def make_pool(R: int, K: int, V: int, seed: int, device="cpu"):
    """Concept pool: ids [R, K] int32, weights [R, K]; row 0 and a third are plain, a third has
    unused slots."""
    g = np.random.default_rng(seed)
    weights = g.dirichlet(np.ones(K), R)
    weights = -np.sort(-weights, axis=1)
    weights[1::3, (K + 1) // 2 :] = 0
    weights[::3] = 0
    ids = g.integers(0, V, (R, K))
    return (
        torch.tensor(ids, dtype=torch.int32, device=device),
        torch.tensor(weights, dtype=torch.float32, device=device),
    )
