from typing import Annotated, Literal

import torch

from sglang_soft.methods.base import Method, NextInput, StepContext
from sglang_soft.methods.ops import order
from sglang_soft.params import MaxTopK, Temperature, ThinkingParams, TopP, described


class Multiplex(Method):
    """k tokens drawn independently from Filter(p), and the mean of their embeddings.

    A token drawn c times weighs c / k (`mean`), or each distinct one by its probability (`prob`);
    output token: the largest weight, of equal ones the most probable token.
    """

    name = "multiplex"
    source = "arXiv 2601.08808"

    class Params(ThinkingParams, tag="multiplex", kw_only=True, frozen=True):
        max_topk: MaxTopK = 3
        temperature: Temperature | None = 1.0
        top_p: TopP | None = 0.95
        multiplex_weighting: Annotated[
            Literal["mean", "prob"],
            described("Weight of a drawn token: how often it was drawn, or its probability"),
        ] = "mean"

    needs_full_filter = True
    stochastic = True

    def draws(self, k: int) -> int:
        return k

    def step(self, context: StepContext) -> NextInput:
        k, unused = context.k, 2**31 - 1
        ids, ranks, probs = (x[:, :k] for x in context.drawn)
        counted = torch.arange(k, device=ids.device) < context.max_topk[:, None]
        # In the order of the tokens, so that equal weights keep it; draws beyond the row's own k
        # come last.
        ranks, at = torch.where(counted, ranks, unused).sort(1)
        counted = ranks < unused
        same = (ranks[:, :, None] == ranks[:, None, :]) & counted[:, None, :]
        first = counted & ~torch.tril(same, -1).any(2)
        by_probability = context.arg("multiplex_weighting")[:, None] == 1
        weights = torch.where(by_probability, probs.gather(1, at), same.sum(2))
        weights = torch.where(first, weights, 0.0)
        ids, weights = order(ids.gather(1, at), weights / weights.cumsum(1)[:, -1:])
        return NextInput(ids, weights, ids[:, 0])
