"""Chooses between kernel and reference by where the tensors are; the public functions of the package.

CUDA tensors go to Triton, all others to the plain PyTorch reference. `TRITON_INTERPRET=1` sends CPU
tensors through the Triton kernels as well, in Triton's interpreter. Triton is imported at the first use.
"""

import os

import torch

from . import mixture_reference, sampling_reference, state_reference
from .mixture_reference import VocabShard
from .sampling_reference import SoftSample
from .state_reference import StepRecord


def uses_triton(tensor: torch.Tensor) -> bool:
    return tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"


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
    if uses_triton(table):
        from .mixture_triton import embedding_mixture as run
    else:
        run = mixture_reference.embedding_mixture
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

    On a GPU pass `max_top_k` (0 where no row has 0 < top_k < V): without it, or with K or `max_top_k` above
    128, the reference runs there and sorts whole rows.
    """
    if uses_triton(logits):
        from .sampling_triton import soft_sample as run
    else:
        run = sampling_reference.soft_sample
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
    if uses_triton(logits):
        from .state_triton import decide as run
    else:
        run = state_reference.decide
    return run(ids, weights, token, entropy, logits, ints, floats, conclude=conclude, state=state)


def merge(record: StepRecord, tokens: torch.Tensor) -> None:
    """Put the tokens of thinking rows into `tokens`, in place; see `state_reference.merge`."""
    if uses_triton(tokens):
        from .state_triton import merge as run
    else:
        run = state_reference.merge
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
    if uses_triton(tokens):
        from .state_triton import advance as run
    else:
        run = state_reference.advance
    run(record, tokens, ints, rows, pool_ids, pool_weights, pool_ints, pool_state)
