from typing import Annotated

from sglang_soft_kernels import compose

from sglang_soft.methods import density
from sglang_soft.methods.base import Draw, Method, NextInput, StepContext
from sglang_soft.params import ThinkingParams, described


class SoftDirichlet(Method):
    """Soft, with the weights drawn from a Dirichlet distribution around them.

    w ~ Dir(gamma w), then sorted; output token: the largest weight.
    """

    name = "soft_dirichlet"
    source = "arXiv 2508.03440"

    class Params(ThinkingParams, tag="soft_dirichlet", kw_only=True, frozen=True):
        dirichlet_gamma: Annotated[
            float,
            described("Concentration gamma of the Dirichlet distribution (paper: 1-10)",
                      "dirichlet_alpha", gt=0, le=10000),
        ] = 4.0  # fmt: skip

    stochastic = True
    has_density = True

    def step(self, context: StepContext) -> NextInput:
        shape = context.probs * context.arg("dirichlet_gamma")[:, None]
        log_gamma = context.noise.log_gamma(shape, context.ids)
        ids, weights, _ = compose(context.ids, log_gamma, context.max_topk, softmax=True)
        return NextInput(ids, weights, ids[:, 0])

    def log_prob(self, context: StepContext, fed: NextInput) -> Draw:
        log_prob = density.dirichlet(
            density.weights_of(context.ids, context.probs, fed.ids, fed.weights), context.probs,
            context.arg("dirichlet_gamma"),
        )  # fmt: skip
        return Draw(context.candidates, log_prob)
