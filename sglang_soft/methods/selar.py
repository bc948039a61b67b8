from typing import Annotated

from sglang_soft_kernels import compose, normalised_entropy

from sglang_soft.methods.base import Method, NextInput, StepContext
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
        h = normalised_entropy(context.probs, context.max_topk)
        return NextInput(
            *compose(
                context.ids, context.probs, context.max_topk,
                soft=h > context.arg("selar_threshold"), drawn=context.drawn.ids[:, 0],
                token=context.ids[:, 0], share=1 + h, blend_drawn=False,
            )
        )  # fmt: skip
