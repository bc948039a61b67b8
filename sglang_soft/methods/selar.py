from typing import Annotated

from sglang_soft.methods.base import Method, NextInput, StepContext
from sglang_soft.methods.ops import either, normalised_entropy, order
from sglang_soft.params import MaxTopK, ThinkingParams, described


class SeLaR(Method):
    """Discrete where the model is sure; else a mixture pushed away from the most probable token.

    h = H(w) / log k over the k most probable tokens. Above a threshold: e + h (e - E[argmax]) with
    e their mixture, that is weights (1 + h) w, less h at the most probable token (which may be
    negative); else one token drawn from Filter(p).
    """

    name = "selar"
    source = "arXiv 2604.08299"

    class Params(ThinkingParams, tag="selar", kw_only=True, frozen=True):
        max_topk: MaxTopK = 3
        selar_threshold: Annotated[
            float,
            described("Normalised entropy of the top k above which a step is soft (paper: 0.4-0.7)",
                      ge=0, le=1),
        ] = 0.5  # fmt: skip

    needs_full_filter = True
    stochastic = True

    def step(self, context: StepContext) -> NextInput:
        ids, weights = context.top()
        h = normalised_entropy(weights, context.max_topk)
        pushed = (1 + h[:, None]) * weights
        pushed[:, 0] -= h
        soft = NextInput(*order(ids, pushed), context.ids[:, 0])
        return either(h > context.arg("selar_threshold"), soft, context.discrete())
