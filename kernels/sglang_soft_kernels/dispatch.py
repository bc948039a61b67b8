"""Chooses the implementation by where the tensors are; the public functions of the package.

CUDA tensors go to Triton, CPU tensors to compiled loops, all others to the plain PyTorch reference.
`TRITON_INTERPRET=1` sends CPU tensors through the Triton kernels as well, in Triton's interpreter.
Triton and Numba are imported at the first use.
"""

import importlib
import os
from collections.abc import Callable
from functools import cache

import torch

from .mixture_reference import VocabShard
from .sampling_reference import SoftSample
from .state_reference import StepRecord

_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def uses_triton(tensor: torch.Tensor) -> bool:
    return tensor.is_cuda or _INTERPRETED


def _implementation(family: str, function: str, tensor: torch.Tensor) -> Callable:
    """`function` of the module for the device of `tensor`. family: sampling, state or mixture."""
    if uses_triton(tensor):
        return _load(f"{family}_triton", function)
    return _load("cpu" if tensor.is_cpu else f"{family}_reference", function)


@cache
def _load(module: str, function: str) -> Callable:
    return getattr(importlib.import_module(f".{module}", __package__), function)


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
    """Embeddings of soft and plain tokens, [T, H]; see `mixture_reference.embedding_mixture`."""
    run = _implementation("mixture", "embedding_mixture", table)
    return run(
        table, input_ids, rows, ids, weights,
        vectors=vectors, has_vector=has_vector, add_vectors=add_vectors, shard=shard, out_dtype=out_dtype, out=out,
    )  # fmt: skip


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
    """Concept tokens from logits; see `sampling_reference.soft_sample`.

    On a GPU pass `max_top_k` (0 where no row has 0 < top_k < V): without it, or with K or
    `max_top_k` above 128, the reference runs there and sorts whole rows.
    """
    run = _implementation("sampling", "soft_sample", logits)
    return run(logits, temperature, top_k, top_p, min_p, n, K=K, max_top_k=max_top_k)


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
    """What the rows emit and are fed; see `state_reference.decide`."""
    run = _implementation("state", "decide", logits)
    return run(ids, weights, token, entropy, logits, ints, floats, conclude=conclude, state=state)


def merge(record: StepRecord, tokens: torch.Tensor) -> None:
    """Put the tokens of thinking rows into `tokens`, in place; see `state_reference.merge`."""
    run = _implementation("state", "merge", tokens)
    run(record, tokens)


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
    """Write what the rows feed next and their new state; see `state_reference.advance`."""
    run = _implementation("state", "advance", tokens)
    run(record, tokens, ints, rows, pool_ids, pool_weights, pool_ints, pool_state)
