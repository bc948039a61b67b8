"""A tensor-parallel rank's part of the vocabulary: our arithmetic against SGLang's own."""

import torch
from sglang.srt.layers.vocab_parallel_embedding import get_masked_input_and_mask
from sglang_soft_kernels.mixture.naive import VocabShard, localize

SHARDS = [((0, 24), 0, (40, 46)), ((24, 40), 8, (46, 50))]
"""Two ranks of 40 original and 10 added ids, 24 + 6 rows of table each."""


def test_localize_equals_sglang():
    ids = torch.tensor([*range(60), -1, 1 << 60])
    for org, padding, added in SHARDS:
        local, here = localize(ids, VocabShard(*org, padding, *added))
        want, elsewhere = get_masked_input_and_mask(ids, *org, padding, *added)
        assert torch.equal(here, ~elsewhere) and torch.equal(local, want)
