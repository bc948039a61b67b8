from typing import Annotated

import torch

from sglang_soft.params import StopParams, described
from sglang_soft.stopping.base import StopContext, StopRule


class ThinkEndBoost(StopRule):
    """Nothing is forced: at every step the logit of think-end is raised.

    z_e += `boost` (max z - mean z), over the tokens whose logit is finite, before anything of the
    step reads the logits: entropy, filter, weights and draws come from the raised ones.
    """

    name = "think_end_boost"
    source = "arXiv 2506.02536"
    adjusts = True
    stops = False

    class Params(StopParams, tag="think_end_boost", kw_only=True, frozen=True):
        boost: Annotated[
            float,
            described("Share of the distance from the mean to the largest logit (authors: 0.6; it "
                      "breaks hard problems, so they also have 0.2-0.4)", ge=0, le=10),
        ] = 0.3  # fmt: skip

    def adjust(self, context: StopContext) -> torch.Tensor:
        return context.arg("boost") * (context.facts.largest - context.facts.mean)
