"""The kernels of a step as compiled loops, for CPUs; the references are their specification.

A decode step of a small model takes a few milliseconds, and a hundred tensor operators take one of
them, whatever they compute. Numba comes with SGLang and needs no compiler; the first steps on a
machine wait some seconds for it, and what it compiles is kept beside this file or in the user's
cache. Rows are computed one after the other, so their bits do not depend on the batch.
"""

import math

import numba
import numpy as np
import torch

from . import layout, mixture_reference
from .layout import Phase, Step
from .mixture_reference import VocabShard
from .sampling_reference import SoftSample
from .state_reference import StepRecord

MAX_INSERTED = 128
"""Candidates that are found by insertion; for more the whole row is sorted."""

_NONE: np.ndarray = np.empty(0, np.bool_)
"""In place of a bool for each row that is not there."""

# As numbers, because a change of layout.py alone would not make Numba compile anew: it watches this
# file.
COLD_STEPS, BOUND, THINK_START, THINK_END, PHASE, LOW, THOUGHT = range(5, 12)
COLD_ENTROPY = 3
WAITS, THINKS, ANSWERS = range(1, 4)
PLAIN, CONCEPT, NATURAL_END, COLD_STOP, BOUND_STOP, METHOD_STOP = range(6)
assert [COLD_STEPS, BOUND, THINK_START, THINK_END, PHASE, LOW, THOUGHT, COLD_ENTROPY] == [
    layout.COLD_STEPS, layout.BOUND, layout.THINK_START, layout.THINK_END, layout.PHASE, layout.LOW, layout.THOUGHT,
    layout.COLD_ENTROPY,
]  # fmt: skip
assert [WAITS, THINKS, ANSWERS] == [Phase.WAIT, Phase.THINK, Phase.ANSWER]
assert [PLAIN, CONCEPT, NATURAL_END, COLD_STOP, BOUND_STOP, METHOD_STOP] == [
    Step.PLAIN, Step.CONCEPT, Step.THINK_END, Step.COLD_STOP, Step.BOUND, Step.METHOD,
]  # fmt: skip


def compiled(function):
    """`function` as machine code, compiled at its first call."""
    try:
        return numba.njit(
            function, cache=True, error_model="numpy"
        )  # a row of nan is no reason to stop
    except RuntimeError:  # no folder can be written: every process compiles anew
        return numba.njit(function, error_model="numpy")


@compiled
def sample_loop(z, temperature, top_k, top_p, min_p, n, W, ids, weights, entropy):
    K = ids.shape[1]
    e = np.empty(W, np.float32)  # the largest logits in order, then their e
    token = np.empty(W, np.int32)
    for b in range(z.shape[0]):
        row, T = z[b], temperature[b]
        every = top_k[b] > W  # off, or the whole vocabulary
        need = min(n[b] if every else top_k[b], W)
        count = 0
        if W > MAX_INSERTED:
            order = np.argsort(-row, kind="mergesort")  # stable
            count = need
            for k in range(count):
                token[k], e[k] = order[k], row[order[k]]
        else:
            for i in range(row.size):
                x = row[i]
                if count < need:
                    at = count
                    count += 1
                elif x > e[need - 1]:
                    at = need - 1
                else:
                    continue
                # Only smaller ones move: among equals the smaller id, which came first, stays in
                # front.
                while at > 0 and e[at - 1] < x:
                    e[at], token[at] = e[at - 1], token[at - 1]
                    at -= 1
                e[at], token[at] = x, i

        largest = e[0]
        Z, S = 0.0, 0.0
        for i in range(row.size):
            x = (row[i] - largest) / T
            if x > np.float32(-104.0):  # below it exp is 0
                p = math.exp(x)
                Z += p
                S += p * x
        entropy[b] = math.log(Z) - S / Z

        total = 0.0
        for k in range(count):
            e[k] = math.exp((e[k] - largest) / T)
            total += e[k]
        limit = top_p[b] * (Z if every else total)
        kept = 0.0
        for k in range(K):
            if k < min(n[b], count) and e[k] >= min_p[b] and kept <= limit:
                ids[b, k], weights[b, k] = token[k], e[k]
                kept += e[k]
            else:
                ids[b, k], weights[b, k] = token[0], 0.0
        for k in range(K):
            weights[b, k] /= kept


@compiled
def decide_loop(ids, weights, token, entropy, logits, ints, floats, conclude, state, packed):
    K = ids.shape[1]
    for b in range(ids.shape[0]):
        think_end = ints[b, THINK_END]
        if not 0 <= think_end < logits.shape[1]:
            raise IndexError("think-end outside the vocabulary")
        low = ints[b, LOW] + 1 if entropy[b] < floats[b, COLD_ENTROPY] else 0
        kind = CONCEPT
        if token[b] == think_end:
            kind = NATURAL_END
        elif logits[b, think_end] > -np.inf:
            if conclude.size > 0 and conclude[b]:
                kind = METHOD_STOP
            elif low >= ints[b, COLD_STEPS]:
                kind = COLD_STOP
            elif ints[b, THOUGHT] >= ints[b, BOUND]:
                kind = BOUND_STOP
        packed[b, :K] = ids[b]
        packed[b, K : 2 * K] = weights[b].view(np.int32)
        packed[b, 2 * K] = entropy[b : b + 1].view(np.int32)[0]
        packed[b, 2 * K + 1] = kind if ints[b, PHASE] == THINKS else PLAIN
        packed[b, 2 * K + 2] = low
        packed[b, 2 * K + 3] = token[b] if kind == CONCEPT else think_end
        packed[b, 2 * K + 4 :] = state[b].view(np.int32)


@compiled
def merge_loop(packed, K, tokens):
    for b in range(tokens.size):
        if packed[b, 2 * K + 1] != PLAIN:
            tokens[b] = packed[b, 2 * K + 3]


@compiled
def advance_loop(packed, K, tokens, before, rows, ids, weights, ints, state):
    S = packed.shape[1] - 2 * K - 4
    bits = weights.view(np.int32)
    state_bits = state.view(np.int32)
    for b in range(rows.size):
        row, kind = rows[b], packed[b, 2 * K + 1]
        for k in range(K):
            ids[row, k] = packed[b, k]
            # Think-end and every token outside thinking are fed as plain tokens: their rows carry
            # no weight.
            bits[row, k] = packed[b, K + k] if kind == CONCEPT else 0
        if kind != PLAIN:
            ints[row, LOW] = packed[b, 2 * K + 2]
            for s in range(S):
                state_bits[row, s] = packed[b, 2 * K + 4 + s]
            if kind == CONCEPT:
                ints[row, THOUGHT] = before[b, THOUGHT] + 1
            else:
                ints[row, PHASE] = ANSWERS
        elif before[b, PHASE] == WAITS and tokens[b] == before[b, THINK_START]:
            ints[row, PHASE] = THINKS


@compiled
def mixture_loop(table, input_ids, rows, ids, weights, vectors, has_vector, add_vectors, out):
    H, K = table.shape[1], ids.shape[1]
    for t in range(rows.size):
        r = rows[t]
        fed = has_vector.size > 0 and has_vector[r]
        if weights[r, 0] == 0 and not fed:
            if not 0 <= input_ids[t] < table.shape[0]:
                raise IndexError("input id outside the embedding table")
            out[t] = table[input_ids[t]]
            continue
        out[t] = 0.0
        for k in range(K):
            w = weights[r, k]
            if w != 0:  # an unused slot may point at a row that holds inf or nan
                if not 0 <= ids[r, k] < table.shape[0]:
                    raise IndexError("id of a concept token outside the embedding table")
                source = table[ids[r, k]]
                for h in range(H):
                    out[t, h] += w * source[h]
        if fed and add_vectors:
            for h in range(H):
                out[t, h] += vectors[r, h]


def soft_sample(
    logits: torch.Tensor,
    temperature: torch.Tensor,
    top_k: torch.Tensor,
    top_p: torch.Tensor,
    min_p: torch.Tensor,
    n: torch.Tensor,
    *,
    K: int,
    max_top_k: int | None = None,
) -> SoftSample:
    """See `sampling_reference.soft_sample`."""
    B, V = logits.shape
    W = V if max_top_k is None else min(V, max(K, max_top_k))
    sample = SoftSample(
        ids=torch.empty((B, K), dtype=torch.int32),
        weights=torch.empty((B, K)),
        entropy=torch.empty(B),
    )
    parameters = (x.numpy() for x in (temperature, top_k, top_p, min_p, n))
    sample_loop(logits.float().numpy(), *parameters, W, *(x.numpy() for x in sample))
    return sample


def decide(
    ids: torch.Tensor,
    weights: torch.Tensor,
    token: torch.Tensor,
    entropy: torch.Tensor,
    logits: torch.Tensor,
    ints: torch.Tensor,
    floats: torch.Tensor,
    *,
    conclude: torch.Tensor | None = None,
    state: torch.Tensor | None = None,
) -> StepRecord:
    """See `state_reference.decide`."""
    B, K = ids.shape
    S = 0 if state is None else state.shape[1]
    assert all(len(x) == B for x in (weights, token, entropy, logits, ints, floats)), (
        "rows of different batches"
    )
    assert weights.shape == ids.shape and all(
        len(x) == B for x in (conclude, state) if x is not None
    )
    packed = torch.empty((B, 2 * K + 4 + S), dtype=torch.int32)
    decide_loop(
        ids.numpy(), weights.numpy(), token.numpy(), entropy.numpy(), logits.float().numpy(), ints.numpy(),
        floats.numpy(), _NONE if conclude is None else conclude.numpy(),
        np.empty((B, 0), np.float32) if state is None else state.numpy(), packed.numpy(),
    )  # fmt: skip
    return StepRecord(packed, K)


def merge(record: StepRecord, tokens: torch.Tensor) -> None:
    """See `state_reference.merge`."""
    assert len(tokens) == len(record.packed), "rows of different batches"
    merge_loop(record.packed.numpy(), record.K, tokens.numpy())


def advance(
    record: StepRecord,
    tokens: torch.Tensor,
    ints: torch.Tensor,
    rows: torch.Tensor,
    pool_ids: torch.Tensor,
    pool_weights: torch.Tensor,
    pool_ints: torch.Tensor,
    pool_state: torch.Tensor,
) -> None:
    """See `state_reference.advance`."""
    assert len(tokens) == len(ints) == len(rows) == len(record.packed), "rows of different batches"
    assert (
        pool_ids.shape[1] >= record.K <= pool_weights.shape[1]
        and pool_state.shape[1] >= record.state.shape[1]
    )
    arrays = (
        x.numpy() for x in (tokens, ints, rows, pool_ids, pool_weights, pool_ints, pool_state)
    )
    advance_loop(record.packed.numpy(), record.K, *arrays)


def embedding_mixture(
    table: torch.Tensor,
    input_ids: torch.Tensor,
    rows: torch.Tensor,
    ids: torch.Tensor,
    weights: torch.Tensor,
    *,
    vectors: torch.Tensor | None = None,
    has_vector: torch.Tensor | None = None,
    add_vectors: bool = True,
    shard: VocabShard | None = None,
    out_dtype: torch.dtype | None = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """See `mixture_reference.embedding_mixture`, which runs for shards and for tables that are not
    float32."""
    dtypes = {table.dtype, out_dtype or torch.float32, torch.float32 if out is None else out.dtype}
    if shard is not None or dtypes != {torch.float32}:
        return mixture_reference.embedding_mixture(
            table, input_ids, rows, ids, weights,
            vectors=vectors, has_vector=has_vector, add_vectors=add_vectors, shard=shard, out_dtype=out_dtype, out=out,
        )  # fmt: skip
    if out is None:
        out = table.new_empty((len(rows), table.shape[1]))
    if vectors is None or has_vector is None:
        vectors, fed = torch.empty((0, 0)), _NONE
    else:
        fed = has_vector.numpy()
    mixture_loop(
        table.detach().numpy(), input_ids.numpy(), rows.numpy(), ids.numpy(), weights.numpy(),
        vectors.float().numpy(), fed, add_vectors, out.numpy(),
    )  # fmt: skip
    return out
