"""Tensor-parallel ranks: their partial sums add up to the mixture over the whole vocabulary."""

import torch

from tests.mutants import mutant, replace


@mutant("a rank adds only its own ids", "tests/kernels/test_mixture_naive.py -k ranks")
def ids_of_other_ranks() -> None:
    from sglang_soft_kernels.mixture import naive

    def make(original):
        def localize(ids, shard):
            local, here = original(ids, shard)
            return local, None if here is None else torch.ones_like(here)

        return localize

    replace(naive, "localize", make)


@mutant("a rank adds only its own ids", "tests/engine/test_traces.py -k tp2")
def ids_clamped_to_the_shard() -> None:
    from sglang_soft.engine import embedding

    def make(original):
        def embedding_mixture(table, tokens, rows, ids, *args, **kwargs):
            return original(table, tokens, rows, ids.clamp(max=len(table) - 1), *args, **kwargs)

        return embedding_mixture

    replace(embedding, "embedding_mixture", make)


@mutant("one rank adds the embedding offset",
        "tests/engine/test_methods.py -k 'all_methods and tp2'")  # fmt: skip
def offset_of_every_rank() -> None:
    from sglang_soft.engine import embedding

    def make(original):
        return lambda *args, **kwargs: original(*args, **(kwargs | {"add_offsets": True}))

    replace(embedding, "embedding_mixture", make)


@mutant("a mixture is rounded once, after the sum over ranks", "tests/unit/test_embedding.py")
def bf16_sum_before_the_reduce() -> None:
    from sglang_soft.engine import embedding

    def make(original):
        return lambda *args, **kwargs: original(*args, **(kwargs | {"out_dtype": None}))

    replace(embedding, "embedding_mixture", make)
