from typing import Annotated

from sglang_soft_kernels import compose

from sglang_soft.methods.base import Draw, Method, NextInput, StepContext
from sglang_soft.params import ThinkingParams, described


class ThinkRouter(Method):
    """Soft where the model is sure, discrete where it is not.

    Soft if the largest probability (before the filter) is at least a threshold, else one token
    drawn from Filter(p).
    """

    name = "thinkrouter"
    source = "arXiv 2602.11683"

    class Params(ThinkingParams, tag="thinkrouter", kw_only=True, frozen=True):
        router_threshold: Annotated[
            float,
            described("Least largest probability of a soft step (paper: chosen on a validation "
                      "set)", ge=0, le=1),
        ] = 0.5  # fmt: skip

    needs_full_filter = True
    stochastic = True

    def step(self, context: StepContext) -> NextInput:
        sure = context.max_prob >= context.arg("router_threshold")
        drawn = context.drawn.ids[:, 0]
        return NextInput(
            *compose(context.ids, context.probs, context.max_topk, soft=sure, drawn=drawn)
        )

    def log_prob(self, context: StepContext, fed: NextInput) -> Draw:
        return context.draw(context.max_prob < context.arg("router_threshold"))
