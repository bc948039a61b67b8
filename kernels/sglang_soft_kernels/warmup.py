"""Compile at start what a server can meet, so that no request waits for a compiler later.

What depends on the model (vocabulary, hidden size, dtypes) is fixed for a server; what clients
choose (k, top_k, the method, the size of the batch) is a run-time value of the kernels, up to the
few sizes that `variants` lists.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from . import layout
from .mixture.naive import VocabShard, embedding_mixture
from .sampling.naive import soft_sample
from .state.naive import finish_step, overwrite_tokens, update_pool

MAX_WIDTH = 128
"""As sampling/triton.py, which is not imported where there is no GPU."""


class Variant(NamedTuple):
    """One call of the operators of a step; together they compile every kernel."""

    k: int
    top_k_bound: int
    unfiltered: bool
    states: int
    force_end: bool


def variants(max_k: int, states: int) -> Iterator[Variant]:
    """Every combination of compile-time sizes of the sampling kernels and of the state kernels.

    max_k: largest concept. states: most columns of state of any method.
    """
    sizes = [1 << i for i in range(max_k.bit_length()) if 1 << i < max_k] + [max_k]
    for unfiltered in (False, True):
        for width in (16, 32, 64, MAX_WIDTH):
            yield Variant(min(max_k, 10), width, unfiltered, 0, False)
    for k in sizes:
        yield Variant(k, 0, False, 0, False)
        for columns in {1 << i for i in range(states.bit_length())} | {states} - {0}:
            yield Variant(k, 0, False, columns, True)
            yield Variant(k, 0, False, columns, False)


@torch.inference_mode()
def warmup(
    device: torch.device | str,
    vocab_size: int,
    *,
    max_k: int,
    states: int,
    table: torch.Tensor | None = None,
    offsets: bool = False,
    shard: VocabShard | None = None,
    out_dtype: torch.dtype | None = None,
    logits_dtype: torch.dtype = torch.float32,
) -> int:
    """Run every operator once for each variant on one row; returns the number of variants.

    table: [Vs, H] the model's embedding table, None: the mixture is left out. offsets: with
    embedding offsets as well. shard, out_dtype: as for `embedding_mixture`.
    """
    logits = torch.zeros((2, vocab_size), dtype=logits_dtype, device=device)
    count = 0
    for variant in variants(max_k, states):
        _step(logits, variant, device)
        count += 1
    if table is not None:
        for k in {v.k for v in variants(max_k, states)}:
            for with_offsets in (False, True) if offsets else (False,):
                _mix(table, k, with_offsets, shard, out_dtype)
                count += 1
    return count


def _step(logits: torch.Tensor, v: Variant, device) -> None:
    def full(value: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.full((1,), value, dtype=dtype, device=device)

    ones = full(1, torch.float32)
    width = min(v.k, logits.shape[1])
    sample = soft_sample(
        logits, ones, full(max(1, v.top_k_bound), torch.int32), ones, ones,
        full(width, torch.int32), k=width, top_k_bound=v.top_k_bound,
        index=full(1, torch.int64), unfiltered=width if v.unfiltered else 0,
    )  # fmt: skip
    ints = torch.zeros((1, layout.INT_COLUMNS), dtype=torch.int32, device=device)
    floats = torch.zeros((1, 4), device=device)
    state = torch.zeros((1, v.states), device=device) if v.states else None
    flags = full(0, torch.bool) if v.force_end else None
    index = full(1, torch.int64)
    record = finish_step(
        sample.ids, sample.weights, sample.ids[:, 0], sample.entropy, logits, ints, floats,
        force_end=flags, state=state, index=index,
    )  # fmt: skip
    pool = (
        torch.zeros((2, width), dtype=torch.int32, device=device),
        torch.zeros((2, width), device=device),
    )
    pool_ints = torch.zeros((2, layout.INT_COLUMNS), dtype=torch.int32, device=device)
    pool_state = torch.zeros((2, max(1, v.states)), device=device)
    for dtype in (torch.int32, torch.int64):
        tokens = torch.zeros(2, dtype=dtype, device=device)
        overwrite_tokens(record, tokens, index)
        update_pool(record, tokens, ints, index, *pool, pool_ints, pool_state, index)


def _mix(table: torch.Tensor, k: int, with_offsets: bool, shard, out_dtype) -> None:
    device = table.device
    rows = torch.zeros(1, dtype=torch.int64, device=device)
    offsets = torch.zeros((1, table.shape[1]), dtype=table.dtype, device=device)
    has_offset = torch.zeros(1, dtype=torch.bool, device=device)
    embedding_mixture(
        table, rows, rows, torch.zeros((1, k), dtype=torch.int32, device=device),
        torch.ones((1, k), device=device), offsets=offsets if with_offsets else None,
        has_offset=has_offset if with_offsets else None, shard=shard, out_dtype=out_dtype,
    )  # fmt: skip
