"""From the space of a model's output head to that of its embedding table, for `latent_mas`.

W = (U'U + 1e-5 I)^-1 U'E, the least-squares solution of U W = E with a ridge. Products are of
float32, their sums over blocks of the vocabulary (and over ranks) and the solution in float64; W is
float32. Nothing waits for the device. Shapes: V vocabulary, H hidden size.
"""

from collections.abc import Iterator

import torch

RIDGE = 1e-5
"""LatentMAS, authors' code."""
_BLOCK = 4096
_HEADS = ("lm_head", "embed_out", "output")


def output_head(model, embedding):
    """The model's output head, of which every rank has the same words as of `embedding`.

    Raises LookupError: there is none, it is quantised, or it is split in another way.
    """
    from sglang.srt.layers.quantization.unquant import (
        UnquantizedEmbeddingMethod,
        UnquantizedLinearMethod,
    )
    from sglang.srt.layers.vocab_parallel_embedding import VocabParallelEmbedding

    name = type(model).__name__
    found = [getattr(m, head) for m in model.modules() for head in _HEADS if hasattr(m, head)]
    found = [head for head in found if isinstance(head, VocabParallelEmbedding)]
    if not found and getattr(getattr(model, "config", None), "tie_word_embeddings", False):
        found = [embedding]  # Gemma has no head of its own
    if len(set(map(id, found))) != 1:
        raise LookupError(f"{name} has {len(found)} candidates for its output head")
    plain = (UnquantizedEmbeddingMethod, UnquantizedLinearMethod)
    if not isinstance(found[0].quant_method, plain):
        kind = type(found[0].quant_method).__name__
        raise LookupError(f"the output head of {name} is quantised ({kind})")
    if found[0].shard_indices != embedding.shard_indices:
        raise LookupError(f"{name} splits its output head and its embedding differently")
    return found[0]


def realignment(embedding, head) -> torch.Tensor:
    """W, [H, H] float32, the same on every rank. embedding, head: `VocabParallelEmbedding`s."""
    rows = zip(blocks(embedding, head.weight), blocks(embedding, embedding.weight), strict=True)
    products = sum_of_products(rows, embedding.weight)
    if embedding.tp_size > 1:
        torch.distributed.all_reduce(products, group=embedding.tp_group.device_group)
    return solve(products)


def blocks(module, table: torch.Tensor) -> Iterator[torch.Tensor]:
    """The rows of `table` that are words, some at a time: a float32 copy of all may not fit.

    module: the `VocabParallelEmbedding` that says which they are.
    """
    shard = module.shard_indices
    for first, count in (
        (0, shard.num_org_elements),
        (shard.num_org_elements + shard.num_org_vocab_padding, shard.num_added_elements),
    ):
        yield from table[first : first + count].split(_BLOCK)


def sum_of_products(rows, like: torch.Tensor) -> torch.Tensor:
    """[2, H, H] float64: U'U and U'E. rows: blocks of U and E, [n, H] each."""
    H = like.shape[1]
    products = torch.zeros((2, H, H), dtype=torch.float64, device=like.device)
    for u, e in rows:
        left = u.float().t()
        products[0] += left @ u.float()
        products[1] += left @ e.float()
    return products


def solve(products: torch.Tensor) -> torch.Tensor:
    """W, [H, H] float32. products: [2, H, H] float64."""
    gram = products[0].clone()
    gram.diagonal().add_(RIDGE)
    # solve_ex: the other one waits for the device to tell whether it worked.
    return torch.linalg.solve_ex(gram, products[1]).result.float()
