"""VocabParallelEmbedding: the input embedding of a concept token.

Mixing happens before the tensor-parallel all-reduce, on every rank's own shard of the vocabulary:
the mixture is linear, so the sum over ranks is the mixture over the whole vocabulary.
"""

import torch
from sglang_soft_kernels import VocabShard, embedding_mixture

from sglang_soft.plan import EmbedPlan
from sglang_soft.runner import concept_pool, direct_forward, embed_scope


def embed_local_shard(original, self, input_: torch.Tensor) -> torch.Tensor:
    """[T] ids -> [T, H]: mixtures where the forward plan says so, plain rows elsewhere."""
    plan = _plan() if getattr(self, "soft_input_embedding", False) else None
    if plan is None:
        return original(self, input_)
    shard, first_rank = None, True
    if self.tp_size > 1:
        s = self.shard_indices
        shard = VocabShard(
            s.org_vocab_start_index,
            s.org_vocab_end_index,
            s.num_org_vocab_padding,
            s.added_vocab_start_index,
            s.added_vocab_end_index,
        )
        first_rank = s.org_vocab_start_index == 0
    rows = plan.rows
    if len(rows) < len(input_):  # SGLang padded the batch; row 0 is a plain token
        rows = torch.nn.functional.pad(rows, (0, len(input_) - len(rows)))
    # Partial sums stay in float32 until the all-reduce has added them (after_forward).
    out_dtype = torch.float32 if self.tp_size > 1 else self.output_dtype
    return embedding_mixture(
        self.weight,
        input_,
        rows,
        plan.ids,
        plan.weights,
        vectors=plan.vectors,
        has_vector=plan.has_vector,
        add_vectors=first_rank,
        shard=shard,
        out_dtype=out_dtype,
    )


def after_forward(output: torch.Tensor, self, input_: torch.Tensor) -> torch.Tensor | None:
    if self.tp_size > 1 and getattr(self, "soft_input_embedding", False):
        return output.to(self.output_dtype or self.weight.dtype)
    return None


def _plan() -> EmbedPlan | None:
    scope = embed_scope.get()
    if scope is not None:
        scope.mixed = True
        return scope.plan
    # Not inside ModelRunner.forward: SGLang captures a decode graph, or warms up for it. Soft and
    # hard rows are told apart by the pool's data at replay.
    from sglang.srt.model_executor.runner import get_is_capture_mode

    call = direct_forward.get()
    if call is not None and get_is_capture_mode() and call.forward_batch.forward_mode.is_decode():
        pool = concept_pool(call.model_runner)
        return EmbedPlan(
            call.forward_batch.req_pool_indices,
            pool.ids,
            pool.weights,
            pool.with_vectors(),
            pool.has_vector,
        )
    return None
