from typing import Annotated, Literal

import torch
from sglang_soft_kernels import merge_draws
from sglang_soft_kernels.index import identity

from sglang_soft.methods.base import Draw, Method, NextInput, StepContext
from sglang_soft.params import MaxTopK, Temperature, ThinkingParams, TopP, described


class Multiplex(Method):
    """k tokens drawn independently from Filter(p), and the mean of their embeddings.

    Every draw weighs the same (`mean`), or as much as its token is probable (`prob`); a token that
    was drawn c times has the weight of c draws. Output token: the first draw, or the largest
    weight, of equal ones the most probable token.
    """

    name = "multiplex"
    source = "arXiv 2601.08808"

    class Params(ThinkingParams, tag="multiplex", kw_only=True, frozen=True):
        max_topk: MaxTopK = 3
        temperature: Temperature | None = 1.0
        top_p: TopP | None = 0.95
        multiplex_weighting: Annotated[
            Literal["mean", "prob"],
            described("Weight of a draw: the same for all, or its token's probability"),
        ] = "mean"
        multiplex_token: Annotated[
            Literal["first", "largest"],
            described("Output token: the first draw, or the one of the largest weight"),
        ] = "first"

    needs_full_filter = True
    stochastic = True

    def draws(self, k: int) -> int:
        return k

    def step(self, context: StepContext) -> NextInput:
        drawn = (x[:, : context.k] for x in context.drawn)
        by_probability = context.arg("multiplex_weighting")
        ids, weights = merge_draws(*drawn, context.max_topk, by_probability)
        first = context.arg("multiplex_token") == 0
        return NextInput(ids, weights, torch.where(first, context.drawn.ids[:, 0], ids[:, 0]))

    def log_prob(self, context: StepContext, fed: NextInput) -> Draw:
        tokens, probs = context.drawn.ids[:, : context.k], context.drawn.probs[:, : context.k]
        counted = identity(tokens.shape[1], tokens.device) < context.max_topk[:, None]
        log_probs = torch.where(counted, probs.log(), 0.0)
        return Draw(torch.where(counted, tokens, -1), log_probs.cumsum(1)[:, -1])
