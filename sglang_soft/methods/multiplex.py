from typing import Annotated, Literal

from sglang_soft_kernels import merge_draws

from sglang_soft.methods.base import Method, NextInput, StepContext
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
        drawn = (x[:, : context.k] for x in context.drawn)
        by_probability = context.arg("multiplex_weighting")
        ids, weights = merge_draws(*drawn, context.max_topk, by_probability)
        return NextInput(ids, weights, ids[:, 0])
