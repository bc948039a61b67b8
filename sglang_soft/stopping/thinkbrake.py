from typing import Annotated

import torch

from sglang_soft.params import StopParams, described
from sglang_soft.stopping.base import At, StopContext, StopRule


class ThinkBrake(StopRule):
    """After a paragraph, where think-end is nearly the most probable token.

    Stop where max z - z_e <= `margin`, at boundaries only. The paper's formula; its authors' code
    asks another question (log-probabilities of two continuations, at two temperatures), so its
    thresholds are not those of this rule.
    """

    name = "thinkbrake"
    source = "arXiv 2510.00546"

    class Params(StopParams, tag="thinkbrake", kw_only=True, frozen=True):
        at: At = "paragraph"
        margin: Annotated[
            float,
            described("Largest distance of the logit of think-end from the largest one, in nats "
                      "(paper: 0.1-2.5)", ge=0),
        ] = 1.0  # fmt: skip

    def step(self, context: StopContext) -> tuple[torch.Tensor, None]:
        facts = context.facts
        near = facts.largest - facts.logit <= context.arg("margin")
        return near & context.boundary, None
