from typing import Annotated

import torch

from sglang_soft.methods import noise
from sglang_soft.methods.base import Method, NextInput, StepContext
from sglang_soft.methods.ops import order, softmax
from sglang_soft.params import ThinkingParams, described

ROUNDS = 10
"""Of the gamma sampler; a round accepts with a probability above 0.95, so 10 fail once in 10^13
draws."""


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

    def step(self, context: StepContext) -> NextInput:
        ids, weights = context.top()
        shape = weights * context.arg("dirichlet_gamma")[:, None]
        used = shape > 0
        log_gamma = log_gamma_variates(context.noise, torch.where(used, shape, 1.0), ids)
        ids, weights = order(ids, softmax(torch.where(used, log_gamma, float("-inf"))))
        return NextInput(ids, weights, ids[:, 0])


def log_gamma_variates(
    source: noise.Noise, shape: torch.Tensor, lanes: torch.Tensor
) -> torch.Tensor:
    """log of Gamma(shape, 1) variates, [B, k], by Marsaglia and Tsang (2000) on shape + 1 and the
    boost U^(1 / shape).

    In logarithms, because a small shape's variates underflow. The rejection loop has a fixed number
    of rounds, so that nothing waits for the device.
    """
    d = shape + (1 - 1 / 3)
    k = 1 / torch.sqrt(9 * d)
    accepted = torch.zeros_like(shape, dtype=torch.bool)
    v = torch.ones_like(shape)
    for r in range(ROUNDS):
        stream = noise.GAMMA + 3 * r
        x = source.normal(stream, lanes)
        trial = (1 + k * x) ** 3
        log_trial = torch.log(trial.clamp(min=1e-38))
        u = source.uniform(stream + 2, lanes)
        accept = (trial > 0) & (torch.log(u) < 0.5 * x * x + d - d * trial + d * log_trial)
        v = torch.where(accept & ~accepted, trial, v)
        accepted |= accept
    return torch.log(d * v) + torch.log(source.uniform(noise.BOOST, lanes)) / shape
