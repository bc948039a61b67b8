from typing import Annotated

from sglang_soft_kernels import compose, normalised_entropy

from sglang_soft.methods.base import Draw, Method, NextInput, StepContext
from sglang_soft.params import MaxTopK, ThinkingParams, described


class MixtureOfInputs(Method):
    """A drawn token blended with the distribution it was drawn from; the less certain, the more.

    w = (h p + (beta + 1 - h) y) / (beta + 1) over the k most probable tokens, y one-hot of a token
    drawn from them, h = H(p) / log k; output token: the drawn one. The authors apply it to every
    generated token, here it acts in the thought only.
    """

    name = "moi"
    source = "arXiv 2505.14827"

    class Params(ThinkingParams, tag="moi", kw_only=True, frozen=True):
        max_topk: MaxTopK = 20
        moi_beta: Annotated[
            float, described("beta: weight of the drawn token (paper: 0.5-2)", ge=0, le=1000)
        ] = 1.0

    stochastic = True

    def draws(self, k: int) -> int:
        return 1

    def step(self, context: StepContext) -> NextInput:
        drawn = context.drawn.ids[:, 0]
        share = normalised_entropy(context.probs, context.max_topk) / (context.arg("moi_beta") + 1)
        mixed = compose(context.ids, context.probs, context.max_topk, token=drawn, share=share)
        return NextInput(mixed.ids, mixed.weights, drawn)

    def log_prob(self, context: StepContext, fed: NextInput) -> Draw:
        return context.draw()
