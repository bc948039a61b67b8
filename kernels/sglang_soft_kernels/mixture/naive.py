"""Embedding mixture in plain PyTorch: the specification of `triton` and `cpu`.

Shapes: T tokens of one forward pass, R rows of the concept pool, k slots of a row, H hidden size,
Vs rows of the local vocabulary shard.
"""

from typing import NamedTuple

import torch

from ..dispatch import dispatch


class VocabShard(NamedTuple):
    """What one tensor-parallel rank holds of the vocabulary.

    Fields are those of SGLang's `VocabParallelEmbeddingShardIndices`. The local table is laid out
    as [original ids, padding, added ids, padding]; every interval is half open.
    """

    org_vocab_start_index: int
    org_vocab_end_index: int
    num_org_vocab_padding: int
    added_vocab_start_index: int
    added_vocab_end_index: int

    @property
    def added_offset(self) -> int:
        """`added id - added_offset` is its row in the local table."""
        org_rows = (
            self.org_vocab_end_index - self.org_vocab_start_index + self.num_org_vocab_padding
        )
        return self.added_vocab_start_index - org_rows


def localize(
    ids: torch.Tensor, shard: VocabShard | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Vocabulary ids -> (rows of the local table, mask of the ids that live here).

    Ids of other ranks map to row 0 with mask False. Without a shard every id is local and the mask
    is None. Same result as SGLang's `get_masked_input_and_mask` (whose mask is the opposite).
    """
    if shard is None:
        return ids, None
    org = (ids >= shard.org_vocab_start_index) & (ids < shard.org_vocab_end_index)
    added = (ids >= shard.added_vocab_start_index) & (ids < shard.added_vocab_end_index)
    local = torch.where(org, ids - shard.org_vocab_start_index, ids - shard.added_offset)
    mask = org | added
    return torch.where(mask, local, 0), mask


@dispatch
def embedding_mixture(
    table: torch.Tensor,
    input_ids: torch.Tensor,
    rows: torch.Tensor,
    ids: torch.Tensor,
    weights: torch.Tensor,
    *,
    offsets: torch.Tensor | None = None,
    has_offset: torch.Tensor | None = None,
    add_offsets: bool = True,
    shard: VocabShard | None = None,
    out_dtype: torch.dtype | None = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Input embeddings of T tokens, soft and plain ones side by side (arXiv 2505.15778, section
    3.2).

    table: [Vs, H] float32, float16 or bfloat16. input_ids: [T] int. rows: [T] int, index into the
    pool. ids: [R, k] int. weights: [R, k] float32. Returns [T, H] in `out_dtype` (default: the
    table's dtype).

    With r = rows[t], token t is plain where weights[r, 0] == 0 and it has no offset: out[t] =
    table[input_ids[t]], bit for bit. Otherwise it is soft: out[t] = sum_k weights[r, k] *
    table[ids[r, k]], accumulated in float32 and rounded once. A slot of weight 0 contributes
    nothing, whatever the table holds there. The input id of a soft token is never read. Ids of
    other ranks contribute zero; to add partial sums up without rounding them first, ask for
    `out_dtype=torch.float32` and round after the all-reduce.

    offsets: [R, H], has_offset: [R] bool (both or neither): where has_offset[r], offsets[r] is
    added to the sum, in float32; add_offsets False: it counts as 0 here (all tensor-parallel ranks
    but one).
    """
    rows = rows.long()
    w = weights[rows]
    soft = w[:, :1] != 0
    if has_offset is not None:
        soft = soft | has_offset[rows][:, None]

    plain_ids, plain_here = localize(
        torch.where(soft[:, 0], _any_local_id(shard), input_ids.long()), shard
    )
    plain = table[plain_ids]
    if plain_here is not None:
        plain = torch.where(plain_here[:, None], plain, 0)

    local, here = localize(ids[rows].long(), shard)
    used = w != 0 if here is None else (w != 0) & here
    # torch.where, not a product with 0: an unused slot may point at a row that holds inf or nan.
    terms = torch.where(used[..., None], w[..., None] * table[local].float(), 0.0)
    # Not bmm: its blocking may depend on T, and a token's embedding may not depend on the batch.
    mixed = terms.sum(1)
    if offsets is not None and has_offset is not None and add_offsets:
        mixed = mixed + torch.where(has_offset[rows][:, None], offsets[rows].float(), 0.0)

    result_dtype = out_dtype or (out.dtype if out is not None else table.dtype)
    result = torch.where(soft, mixed.to(result_dtype), plain.to(result_dtype))
    return result if out is None else out.copy_(result)


def _any_local_id(shard: VocabShard | None) -> int:
    return 0 if shard is None else shard.org_vocab_start_index
