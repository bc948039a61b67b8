"""A mixture is rounded once, after the sum over tensor-parallel ranks; models that can be mixed."""

from types import SimpleNamespace

import pytest
import torch
from sglang.srt.layers.vocab_parallel_embedding import VocabParallelEmbedding

from sglang_soft.engine.embedding import input_embedding, mix, round_once
from sglang_soft.engine.inputs import EmbedInputs

# Sixteenths times thirty-seconds: every sum is exact in float32, in any order, and most need
# rounding in bfloat16.
TABLE = torch.randint(-127, 128, (40, 64), generator=torch.Generator().manual_seed(0)) / 32
TABLE = TABLE.bfloat16()
WEIGHTS = torch.tensor([[0.0] * 4, [6, 5, 4, 1], [13, 1, 1, 1], [7, 7, 2, 0]]) / 16
IDS = torch.tensor([[0] * 4, [3, 39, 20, 19], [30, 1, 2, 38], [11, 12, 13, 0]], dtype=torch.int32)
ROWS = torch.tensor([1, 0, 2, 3, 0])
TOKENS = torch.tensor([3, 25, 30, 11, 7])


def rank(start: int, end: int, tp_size: int) -> SimpleNamespace:
    """The fields of a `VocabParallelEmbedding` that we read, for one shard of TABLE."""
    shard = SimpleNamespace(
        org_vocab_start_index=start,
        org_vocab_end_index=end,
        num_org_vocab_padding=0,
        added_vocab_start_index=len(TABLE),
        added_vocab_end_index=len(TABLE),
    )
    return SimpleNamespace(
        weight=TABLE[start:end], shard_indices=shard, tp_size=tp_size, output_dtype=None
    )


def test_ranks_are_added_before_rounding():
    inputs = EmbedInputs(ROWS, IDS, WEIGHTS)
    whole = mix(rank(0, 40, 1), TOKENS, inputs)
    ranks = [rank(0, 20, 2), rank(20, 40, 2)]
    first, second = (mix(r, TOKENS, inputs) for r in ranks)
    output = round_once(ranks[0], first + second)
    assert output.dtype == whole.dtype == torch.bfloat16
    assert torch.equal(output, whole)
    rounded = first.bfloat16() + second.bfloat16()
    assert not torch.equal(rounded, whole), "rounding the parts would show nowhere"


def test_padding_of_the_batch_is_plain():
    inputs = EmbedInputs(ROWS, IDS, WEIGHTS)
    padded = mix(rank(0, 40, 1), torch.cat([TOKENS, torch.tensor([5, 6])]), inputs)
    assert torch.equal(padded[:5], mix(rank(0, 40, 1), TOKENS, inputs))
    assert torch.equal(padded[5:], TABLE[[5, 6]])


def model(**parts: torch.nn.Module | torch.nn.Parameter) -> torch.nn.Module:
    made = torch.nn.Module()
    made.embed_tokens = VocabParallelEmbedding(40, 64, enable_tp=False)
    made.layers = torch.nn.ModuleList([torch.nn.Module()])
    for name, part in parts.items():
        setattr(made.layers[0], name, part)
    return made


@pytest.mark.parametrize(
    "part", ["embed_tokens_per_layer", "ple_embedding", "ngram_embeddings", "engram", "tid2eid"]
)
def test_a_model_that_looks_up_input_ids_twice_is_refused(part):
    """It would look up the output token where a mixture is fed."""
    plain = model(mlp=torch.nn.Linear(2, 2))
    assert input_embedding(plain) is plain.embed_tokens
    own = torch.nn.Linear(2, 2) if part != "tid2eid" else torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(LookupError, match=rf"second time \(layers\.0\.{part}\)"):
        input_embedding(model(mlp=torch.nn.Linear(2, 2), **{part: own}))


def test_a_quantised_embedding_is_refused():
    quantised = model()
    quantised.embed_tokens.quant_method = SimpleNamespace()
    with pytest.raises(LookupError, match="the input embedding of Module is quantised"):
        input_embedding(quantised)
