"""Per-process model state of the plugin: the concept pool, the input embedding, the forward that is
running.

SGLang copies a ForwardBatch into static buffers before the model sees it, and the copy loses
attributes that are no dataclass fields. So what the embedding needs is kept beside the forward, in
context variables.
"""

from contextvars import ContextVar
from typing import Any, NamedTuple

import torch

from sglang_soft.config import get_config
from sglang_soft.plan import EmbedPlan
from sglang_soft.pool import ConceptPool

_EMBEDDING_NAMES = ("embed_tokens", "wte", "tok_embeddings", "word_embeddings", "embedding")


class EmbedScope:
    """One forward of the model runner: what its input embedding has to mix, and whether it did."""

    def __init__(self, plan: EmbedPlan | None) -> None:
        self.plan = plan
        self.mixed = False


class DirectForward(NamedTuple):
    """A call of `model.forward`; outside `ModelRunner.forward` it is a capture of a CUDA graph."""

    forward_batch: Any
    model_runner: Any


class EmbeddingFacts(NamedTuple):
    """What methods may know of the model's input embedding."""

    hidden_size: int
    dtype: torch.dtype
    rms: float
    """Root mean square of the table's elements, over the whole vocabulary, padding left out."""


embed_scope: ContextVar[EmbedScope | None] = ContextVar("sglang_soft_embed_scope", default=None)
direct_forward: ContextVar[DirectForward | None] = ContextVar(
    "sglang_soft_direct_forward", default=None
)


def concept_pool(model_runner) -> ConceptPool:
    """The pool of this model runner; made at the first call, or before CUDA graphs are captured."""
    pool = model_runner.__dict__.get("soft_pool")
    if pool is None:
        rows = model_runner.req_to_token_pool.req_to_token.shape[0]
        embedding: EmbeddingFacts = model_runner.soft_embedding
        pool = model_runner.soft_pool = ConceptPool(
            rows,
            get_config().max_k,
            model_runner.device,
            hidden_size=embedding.hidden_size,
            dtype=embedding.dtype,
            embedding_rms=embedding.rms,
        )
    return pool


def input_embedding(model):
    """The `VocabParallelEmbedding` that embeds the model's input ids.

    Raises:
        LookupError: there is none, or its table is quantised: concept tokens cannot be mixed.
    """
    from sglang.srt.layers.quantization.unquant import UnquantizedEmbeddingMethod
    from sglang.srt.layers.vocab_parallel_embedding import VocabParallelEmbedding

    name = type(model).__name__
    found = {
        path: module
        for path, module in model.named_modules()
        if type(module) is VocabParallelEmbedding and path.rsplit(".", 1)[-1] in _EMBEDDING_NAMES
    }
    if len(found) != 1:
        raise LookupError(
            f"{name} has {len(found)} candidates for its input embedding: {list(found)}"
        )
    (module,) = found.values()
    if not isinstance(module.quant_method, UnquantizedEmbeddingMethod):
        raise LookupError(
            f"the input embedding of {name} is quantised ({type(module.quant_method).__name__})"
        )
    return module


def measure_embedding(module) -> EmbeddingFacts:
    """Facts of a `VocabParallelEmbedding`; every tensor-parallel rank gets the same ones."""
    table = module.weight
    shard = module.shard_indices
    squares = torch.zeros(1, dtype=torch.float64, device=table.device)
    for first, count in (
        (0, shard.num_org_elements),
        (shard.num_org_elements + shard.num_org_vocab_padding, shard.num_added_elements),
    ):
        for block in table[first : first + count].split(
            4096
        ):  # a float32 copy of the whole table may not fit
            squares += block.float().square().sum(dtype=torch.float64)
    if module.tp_size > 1:
        torch.distributed.all_reduce(squares, group=module.tp_group.device_group)
    count = module.num_embeddings * table.shape[1]
    return EmbeddingFacts(
        table.shape[1], module.output_dtype or table.dtype, float((squares / count).sqrt())
    )
