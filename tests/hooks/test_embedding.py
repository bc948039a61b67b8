"""A mixture is rounded once, after the sum over tensor-parallel ranks."""

from types import SimpleNamespace

import torch

from sglang_soft.hooks.embedding import after_forward, embed_local_shard
from sglang_soft.plan import EmbedPlan
from sglang_soft.runner import EmbedScope, embed_scope

# Sixteenths times thirty-seconds: every sum is exact in float32, in any order, and most need
# rounding in bfloat16.
TABLE = (
    torch.randint(-127, 128, (40, 64), generator=torch.Generator().manual_seed(0)) / 32
).bfloat16()
WEIGHTS = torch.tensor([[0.0] * 4, [6, 5, 4, 1], [13, 1, 1, 1], [7, 7, 2, 0]]) / 16
IDS = torch.tensor([[0] * 4, [3, 39, 20, 19], [30, 1, 2, 38], [11, 12, 13, 0]], dtype=torch.int32)
ROWS = torch.tensor([1, 0, 2, 3, 0])
TOKENS = torch.tensor([3, 25, 30, 11, 7])


def rank(start: int, end: int, tp_size: int) -> SimpleNamespace:
    """The fields of a `VocabParallelEmbedding` that the hooks read, for one shard of TABLE."""
    shard = SimpleNamespace(
        org_vocab_start_index=start,
        org_vocab_end_index=end,
        num_org_vocab_padding=0,
        added_vocab_start_index=len(TABLE),
        added_vocab_end_index=len(TABLE),
    )
    return SimpleNamespace(
        weight=TABLE[start:end],
        shard_indices=shard,
        tp_size=tp_size,
        output_dtype=None,
        soft_input_embedding=True,
    )


def embedded(*ranks: SimpleNamespace) -> list[torch.Tensor]:
    token = embed_scope.set(EmbedScope(EmbedPlan(ROWS, IDS, WEIGHTS)))
    try:
        return [embed_local_shard(None, r, TOKENS) for r in ranks]
    finally:
        embed_scope.reset(token)


def test_ranks_are_added_before_rounding():
    (whole,) = embedded(rank(0, 40, 1))
    ranks = [rank(0, 20, 2), rank(20, 40, 2)]
    first, second = embedded(*ranks)
    output = after_forward(first + second, ranks[0], TOKENS)
    assert output is not None and output.dtype == whole.dtype == torch.bfloat16
    assert torch.equal(output, whole)
    assert not torch.equal(first.bfloat16() + second.bfloat16(), whole), (
        "rounding the parts would show nowhere"
    )
