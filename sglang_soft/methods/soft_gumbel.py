from typing import Annotated

from sglang_soft_kernels import compose

from sglang_soft.methods import density, noise
from sglang_soft.methods.base import Draw, Method, NextInput, StepContext
from sglang_soft.params import ThinkingParams, described


class SoftGumbel(Method):
    """Soft, with the weights disturbed by Gumbel noise and sharpened by a temperature.

    w = softmax((log w + g) / t), g ~ Gumbel(0, 1) for each token, then sorted; output token: the
    largest weight.
    """

    name = "soft_gumbel"
    source = "arXiv 2508.03440"

    class Params(ThinkingParams, tag="soft_gumbel", kw_only=True, frozen=True):
        gumbel_temperature: Annotated[
            float,
            described("Temperature t of the Gumbel softmax (paper: 0.3-0.9)",
                      "gumbel_softmax_temperature", gt=0, le=100),
        ] = 0.5  # fmt: skip

    stochastic = True
    has_density = True

    def step(self, context: StepContext) -> NextInput:
        disturbed = context.probs.log() + context.noise.gumbel(noise.GUMBEL, context.ids)
        ids, weights, _ = compose(
            context.ids, disturbed, context.max_topk,
            softmax=True, temperature=context.arg("gumbel_temperature"),
        )  # fmt: skip
        return NextInput(ids, weights, ids[:, 0])

    def log_prob(self, context: StepContext, fed: NextInput) -> Draw:
        log_prob = density.concrete(
            density.weights_of(context.ids, context.probs, fed.ids, fed.weights), context.probs,
            context.arg("gumbel_temperature"),
        )  # fmt: skip
        return Draw(context.candidates, log_prob)
