"""One soft step on the device: from logits to concept tokens, Cold Stop, the forced think-end and the next state.

Source: arXiv 2505.15778, section 3 (concept tokens) and 3.3 (Cold Stop). No host synchronisation, no loop over the
vocabulary or over K. Shapes: B rows of the batch, K slots, V vocabulary.
"""

from typing import NamedTuple

import torch
from sglang_soft_kernels import soft_sample

from sglang_soft import pool as columns
from sglang_soft.pool import STATE, ConceptPool
from sglang_soft.request import Phase, Step


class ConceptStep(NamedTuple):
    """Outcome of one step, before the tokens of rows that do not think are known."""

    thinking: torch.Tensor
    """[B] bool: rows in the thinking phase; the others keep the token that SGLang's sampler drew."""
    token: torch.Tensor
    """[B] int32: the token that a thinking row emits (readable token, or think-end)."""
    kind: torch.Tensor
    """[B] int32: `request.Step`."""
    ids: torch.Tensor
    """[B, K] int32"""
    weights: torch.Tensor
    """[B, K] float32; one-hot where the step emits think-end."""
    entropy: torch.Tensor
    """[B] float32, nats"""
    low: torch.Tensor
    """[B] int32: Cold Stop's count after this step."""
    ints: torch.Tensor
    """[B, 9] int32: the rows' parameters and state before this step (columns: pool.py)."""

    def merge(self, tokens: torch.Tensor) -> None:
        """Put the tokens of thinking rows into SGLang's sampled ids, [B] of any int dtype, in place."""
        tokens.copy_(torch.where(self.thinking, self.token.to(tokens.dtype), tokens))


def concept_step(
    pool: ConceptPool, rows: torch.Tensor, logits: torch.Tensor, *, width: int, max_top_k: int
) -> ConceptStep:
    """Make the concept tokens of the thinking rows.

    rows: [B] int64. logits: [B, V] float32, after penalties, bias and grammar mask; not modified. width: K of
    this batch, at least the max_topk of every row. max_top_k: upper bound of the enabled thinking-phase top_k in the
    batch (0: none enabled).
    """
    floats, ints = pool.floats[rows], pool.ints[rows]
    sample = soft_sample(
        logits,
        floats[:, columns.TEMPERATURE],
        ints[:, columns.TOP_K],
        floats[:, columns.TOP_P],
        floats[:, columns.MIN_P],
        ints[:, columns.WIDTH],
        K=width,
        max_top_k=max_top_k,
    )
    think_end = ints[:, columns.THINK_END]
    thinking = ints[:, columns.PHASE] == Phase.THINK
    low = torch.where(sample.entropy < floats[:, columns.COLD_ENTROPY], ints[:, columns.LOW] + 1, 0)

    natural = sample.ids[:, 0] == think_end
    # A grammar or a bias may forbid think-end here; it is then forced at the first step that allows it.
    allowed = logits.gather(1, think_end.long()[:, None])[:, 0] > float("-inf")
    cold = (low >= ints[:, columns.COLD_STEPS]) & ~natural & allowed
    bound = (ints[:, columns.THOUGHT] >= ints[:, columns.BOUND]) & ~natural & ~cold & allowed
    ended = natural | cold | bound
    kind = Step.CONCEPT + natural.int() + 2 * cold.int() + 3 * bound.int()

    one_hot = torch.zeros_like(sample.weights)
    one_hot[:, 0] = 1.0
    ids = torch.where(ended[:, None], think_end[:, None], sample.ids)
    return ConceptStep(
        thinking=thinking,
        token=ids[:, 0],
        kind=torch.where(thinking, kind, int(Step.PLAIN)),
        ids=ids,
        weights=torch.where(ended[:, None], one_hot, sample.weights),
        entropy=sample.entropy,
        low=low,
        ints=ints,
    )


def advance(pool: ConceptPool, rows: torch.Tensor, step: ConceptStep, tokens: torch.Tensor) -> None:
    """Write what the rows feed next and their new state. tokens: [B], the tokens that were really emitted."""
    ints = step.ints
    concept = step.kind == Step.CONCEPT
    width = step.ids.shape[1]  # slots beyond a row's own max_topk carry no weight since `ConceptPool.start`
    pool.ids[rows, :width] = step.ids
    # Think-end and every token outside thinking are fed as plain tokens: their rows carry no weight.
    pool.weights[rows, :width] = torch.where(concept[:, None], step.weights, 0.0)

    phase = ints[:, columns.PHASE]
    starts = (phase == Phase.WAIT) & (tokens == ints[:, columns.THINK_START])
    ends = step.thinking & ~concept
    phase = torch.where(starts, int(Phase.THINK), torch.where(ends, int(Phase.ANSWER), phase))
    low = torch.where(step.thinking, step.low, ints[:, columns.LOW])
    pool.ints[rows, STATE] = torch.stack([phase, low, ints[:, columns.THOUGHT] + concept.int()], 1)
