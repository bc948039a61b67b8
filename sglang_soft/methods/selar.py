from typing import Annotated, Any, Literal

from sglang_soft_kernels import compose, gate_by_entropy

from sglang_soft.methods import token_classes
from sglang_soft.methods.base import Draw, Method, NextInput, StepContext
from sglang_soft.params import MaxTopK, ThinkingParams, described


class SeLaR(Method):
    """Discrete where the model is sure; else a mixture pushed away from the most probable token.

    h = H(w) / log k over the k most probable tokens; y: a token drawn from Filter(p). From a
    threshold of h on: e + c h (e - E[argmax]) with e their mixture and c the contrast, that is
    weights (1 + c h) w, less c h at the most probable token (which may be negative); else y. A math
    token y is fed alone in any case. Output token: y.
    """

    name = "selar"
    source = "arXiv 2604.08299"

    class Params(ThinkingParams, tag="selar", kw_only=True, frozen=True):
        max_topk: MaxTopK = 3
        selar_threshold: Annotated[
            float,
            described("Normalised entropy of the top k from which a step is soft (paper: 0.4-0.7)",
                      ge=0, le=1),
        ] = 0.5  # fmt: skip
        selar_contrast: Annotated[
            float,
            described("c: how far the mixture is pushed away from the most probable token; 0: not",
                      "contrastive_weight", ge=0, le=1000),
        ] = 1.0  # fmt: skip
        selar_alone: Annotated[
            Literal["math", "none"],
            described("Class of tokens that are fed alone when they are drawn, never mixed"),
        ] = "math"
        selar_token: Annotated[
            Literal["drawn", "top"],
            described("Output token of a soft step: the drawn one, or the most probable one"),
        ] = "drawn"

    needs_full_filter = True
    stochastic = True
    token_classes = (token_classes.MATH,)

    def complete(self, params: ThinkingParams, tokenizer: Any, vocabulary: int) -> ThinkingParams:
        assert isinstance(params, self.Params)
        token_classes.check(tokenizer, "selar_alone", params.selar_alone)
        return params

    def step(self, context: StepContext) -> NextInput:
        # Its kernel reads the parameters by their order.
        assert context.args is not None
        gate = gate_by_entropy(context.probs, context.max_topk, context.args)
        return NextInput(
            *compose(
                context.ids, context.probs, context.max_topk,
                soft=gate.soft, drawn=context.drawn.ids[:, 0], shown=context.arg("selar_token"),
                alone=context.token_class(token_classes.MATH), guarded=gate.guarded,
                token=context.ids[:, 0], share=gate.share, blend_drawn=False,
            )
        )  # fmt: skip

    def log_prob(self, context: StepContext, fed: NextInput) -> Draw:
        assert context.args is not None
        gate = gate_by_entropy(context.probs, context.max_topk, context.args)
        return context.draw(~gate.soft | gate.guarded | (context.arg("selar_token") == 0))
