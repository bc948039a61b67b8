"""Soft sampling as a compiled loop; `naive` is the specification.

The most probable tokens are found by insertion. A whole row is sorted only where the filter, a draw
or k reaches beyond them.
"""

import math

import numpy as np
import torch

from ..compiled import compiled, index_array
from ..layout import MIN_PROB_RATIO
from .naive import Drawn, SoftSample, Unfiltered

MAX_INSERTED = 128
"""Candidates that are found by insertion."""
BLOCK = 256
"""Tokens of a pass over the vocabulary that are computed together."""

# exp in float32 (Cephes, expf.c): ln 2 in two parts, and the coefficients of r^7 .. r^2.
LOG2_E = np.float32(1.44269504088896341)
LN_2, LN_2_REST = np.float32(0.693359375), np.float32(-2.12194440e-4)
E7, E6, E5 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
E4, E3, E2 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
ZERO, ONE = np.float32(0), np.float32(1)
LEAST = np.float32(-87)
"""At or below it e counts as 0: next to the largest token's, which is 1, no sum has room for it."""
ROUND = np.float32(1.5 * 2**23)
"""A small number plus this has its nearest integer in the last bits."""
ROUND_BITS, EXPONENT_0, EXPONENT_AT = ROUND.view(np.int32), np.int32(127), np.int32(23)


@compiled
def most_probable(row, wanted, logits, token):
    """The `wanted` first tokens of the order: their logits and ids, by insertion."""
    count = 0
    for start in range(0, row.size, BLOCK):
        part = row[start : start + BLOCK]
        if count == wanted:  # most blocks of a long row hold no such token
            above = 0
            for i in range(part.size):
                above += part[i] > logits[wanted - 1]
            if above == 0:
                continue
        for i in range(part.size):
            x = part[i]
            if count < wanted:
                at = count
                count += 1
            elif x > logits[wanted - 1]:
                at = wanted - 1
            else:
                continue
            # Only smaller ones move: among equals the smaller id, which came first, stays in front.
            while at > 0 and logits[at - 1] < x:
                logits[at], token[at] = logits[at - 1], token[at - 1]
                at -= 1
            logits[at], token[at] = x, start + i


@compiled
def sums(row, largest, T):
    """Z and the entropy at temperature T.

    exp is Cephes' expf, in loops that become vector instructions: a call of the library's is not,
    and would take most of a step's time at a large vocabulary. exp(x) = 2^n exp(r), |r| < 0.35."""
    size = min(row.size, BLOCK)
    x, e = np.empty(size, np.float32), np.empty(size, np.float32)
    twos = np.empty(size, np.float32)  # n, in the last bits of a float; then 2^n
    bits = twos.view(np.int32)
    Z, S = np.zeros(size), np.zeros(size)  # by place in the block: a fixed order
    for start in range(0, row.size, BLOCK):
        part = row[start : start + BLOCK]
        for i in range(part.size):
            own = (part[i] - largest) / T
            counts = own > LEAST
            own = own if counts else LEAST
            n = own * LOG2_E + ROUND
            x[i], twos[i] = own, n
            n -= ROUND
            r = own - n * LN_2 - n * LN_2_REST
            y = ((((E7 * r + E6) * r + E5) * r + E4) * r + E3) * r + E2
            y = y * r * r + r + ONE
            e[i] = y if counts else ZERO
        for i in range(part.size):
            bits[i] = (bits[i] - ROUND_BITS + EXPONENT_0) << EXPONENT_AT
        for i in range(part.size):
            p = e[i] * twos[i]
            Z[i] += p
            S[i] += p * x[i]
    z = Z.sum()
    return z, math.log(z) - S.sum() / z


@compiled
def kept_tokens(e, count, most, min_p, limit):
    """How many of the first `count` tokens the filter keeps, and their mass."""
    kept, mass = 0, 0.0
    while kept < min(most, count) and e[kept] >= min_p and mass <= limit:
        mass += e[kept]
        kept += 1
    return kept, mass


@compiled
def sample_loop(
    z, temperature, top_k, top_p, min_p, num_candidates, sizes, index, uniforms, ids, weights,
    entropy, max_prob, top_ids, ratios, entropy_1, drawn, ranks, probs, min_ratio,
):  # fmt: skip
    V, k_out, m, n = z.shape[1], ids.shape[1], top_ids.shape[1], uniforms.shape[1]
    e = np.empty(min(V, MAX_INSERTED), np.float32)  # the largest logits in order, then their e
    token = np.empty(min(V, MAX_INSERTED), np.int32)
    for a in range(ids.shape[0]):
        row, T = z[index[a]] if index.size > 0 else z[a], temperature[a]
        every = top_k[a] >= V
        most = min(num_candidates[a], V)
        need = max(most if every else top_k[a], m)
        count = min(need, MAX_INSERTED)
        most_probable(row, count, e, token)
        largest = e[0]
        Z, entropy[a] = sums(row, largest, T)
        max_prob[a] = 1 / Z
        if m > 0:
            _, entropy_1[a] = sums(row, largest, np.float32(1.0))

        sorted_all = False
        while True:
            if sorted_all:
                order = np.argsort(-row, kind="mergesort")  # stable
                count = need
                if e.size < count:
                    e, token = np.empty(V, np.float32), np.empty(V, np.int32)
                for i in range(count):
                    token[i], e[i] = order[i], row[order[i]]
            for i in range(min(m, count)):
                top_ids[a, i], ratios[a, i] = token[i], math.exp(e[i] - largest)
            total = 0.0
            for i in range(count):
                e[i] = math.exp((e[i] - largest) / T)
                if i < top_k[a]:
                    total += e[i]
            limit = top_p[a] * (Z if every else total)
            kept, mass = kept_tokens(e, count, most, min_p[a], limit)
            if sorted_all or count == need:
                break
            missing = max(k_out, m) > count or (limit < np.inf and not every)
            if n > 0 and kept == count and not missing:
                # Without a filter its mass is known, and most draws are among the candidates.
                missing = most < V or limit < np.inf or min_p[a] > min_ratio
                for i in range(n):
                    missing |= uniforms[a, i] * Z >= mass
                mass = Z
            if not missing:
                break
            sorted_all = True

        for i in range(n):
            target, before, rank = uniforms[a, i] * mass, 0.0, 0
            while rank < kept - 1 and before + e[rank] <= target:
                before += e[rank]
                rank += 1
            drawn[a, i], ranks[a, i], probs[a, i] = token[rank], rank, e[rank] / mass
        mass = 0.0
        for i in range(k_out):
            if i < min(kept, sizes[a]):
                ids[a, i], weights[a, i] = token[i], e[i]
                mass += e[i]
            else:
                ids[a, i], weights[a, i] = token[0], 0.0
        for i in range(k_out):
            weights[a, i] /= mass


_NO_FLOATS: np.ndarray = np.empty((0, 0), np.float32)
_NO_INTS: np.ndarray = np.empty((0, 0), np.int32)
_NOT_UNFILTERED: tuple[np.ndarray, ...] = (_NO_INTS, _NO_FLOATS, np.empty(0, np.float32))
_NOT_DRAWN: tuple[np.ndarray, ...] = (_NO_INTS, _NO_INTS, _NO_FLOATS)
"""In place of outputs that were not asked for."""


def soft_sample(
    logits, temperature, top_k, top_p, min_p, num_candidates, *, k, sizes=None, top_k_bound=None,
    index=None, unfiltered=0, uniforms=None,
):  # fmt: skip
    A = len(temperature)

    def ints(*shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.int32)

    sample = SoftSample(ints(A, k), torch.empty((A, k)), torch.empty(A), torch.empty(A))
    at_one = drawn = None
    if m := unfiltered:
        at_one = Unfiltered(ints(A, m), torch.empty((A, m)), torch.empty(A))
    if uniforms is not None:
        assert len(uniforms) == A, "rows of different batches"
        n = uniforms.shape[1]
        drawn = Drawn(ints(A, n), ints(A, n), torch.empty((A, n)))
    sizes = num_candidates if sizes is None else sizes
    parameters = (x.numpy() for x in (temperature, top_k, top_p, min_p, num_candidates, sizes))
    sample_loop(
        logits.float().numpy(), *parameters, index_array(index),
        _NO_FLOATS if uniforms is None else uniforms.numpy(),
        *(x.numpy() for x in sample[:4]),
        *(_NOT_UNFILTERED if at_one is None else (x.numpy() for x in at_one)),
        *(_NOT_DRAWN if drawn is None else (x.numpy() for x in drawn)), MIN_PROB_RATIO,
    )  # fmt: skip
    return sample._replace(unfiltered=at_one, drawn=drawn)
