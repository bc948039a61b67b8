from typing import Annotated, Any, Literal

import msgspec
from sglang_soft_kernels import compose, switch_modes

from sglang_soft.methods import token_classes
from sglang_soft.methods.base import Draw, Method, NextInput, StepContext
from sglang_soft.params import KEY, ThinkingParams, described

_COUNT = {"ge": 0, "le": 2**24}
_FIRST = "\\n"
"""The two characters. The authors' code asks for the token of this text, and means a line break."""


class SwiReasoning(Method):
    """Latent and explicit thinking in turn, switched by the trend of the entropy.

    H: entropy at temperature 1; R: H at the last switch (first: at the first step); y: a token
    drawn from Filter(p). Latent, e, the k most probable tokens at temperature 1, is fed; explicit,
    y. Latent becomes explicit where H < R; explicit becomes latent where H > R and the explicit
    block has lasted W steps. At a switch to latent alpha e + (1 - alpha) think-start is fed, at one
    to explicit beta e + (1 - beta) think-end; alpha and beta grow linearly from their start to 1
    over max_new_tokens. At the first step 0.9 e + 0.1 of another token is fed. A math token y is
    fed alone, also while latent. The step after the C-th switch to explicit concludes: think-end is
    forced. Output token: y. The paper mixes the whole vocabulary; here it is the k most probable,
    renormalised.

    LEAD: two absolute gates next to the relative ones, H < `swi_explicit_below` to become explicit
    and H > `swi_latent_above` to become latent.
    """

    name = "swireasoning"
    source = "arXiv 2510.05069"

    class Params(ThinkingParams, tag="swireasoning", kw_only=True, frozen=True):
        swi_window: Annotated[
            int,
            described("W: least number of explicit steps before a switch to latent", **_COUNT),
        ] = 512
        swi_alpha: Annotated[
            float,
            described("alpha at the start: share of the mixture, the rest being think-start "
                      "(authors: 0.1-1, by hand for each model and data set)", ge=0, le=1),
        ] = 1.0  # fmt: skip
        swi_beta: Annotated[
            float,
            described("beta at the start: share of what is fed at a switch to explicit, the rest "
                      "being think-end", ge=0, le=1),
        ] = 0.7  # fmt: skip
        swi_max_switches: (
            Annotated[
                int,
                described("C: the switch to explicit that concludes; default: none does",
                          "max_switch_count", ge=1, le=2**24),
            ]
            | None
        ) = None  # fmt: skip
        swi_first_share: Annotated[
            float,
            described("Share of the mixture at the first step, the rest being swi_first_token",
                      ge=0, le=1),
        ] = 0.9  # fmt: skip
        swi_first_token: (
            Annotated[
                int,
                described("Id of the token in the mixture of the first step; default: that of a "
                          "backslash and an n, if they are one token, else none", **_COUNT),
            ]
            | None
        ) = None  # fmt: skip
        swi_blend: Annotated[
            Literal["mixture", "drawn"],
            described("What think-end is blended with at a switch to explicit: e or y"),
        ] = "mixture"
        swi_alone: Annotated[
            Literal["math", "none"],
            described("Class of tokens that are fed alone when they are drawn, never mixed"),
        ] = "math"
        swi_token: Annotated[
            Literal["drawn", "top"],
            described("Output token of a step that mixes: y, or the most probable one"),
        ] = "drawn"
        swi_latent_above: Annotated[
            float,
            described("Entropy, in nats, above which alone explicit becomes latent (LEAD: 1.0); 0: "
                      "any", ge=0, le=1000),
        ] = 0.0  # fmt: skip
        swi_explicit_below: (
            Annotated[
                float,
                described("Entropy, in nats, below which alone latent becomes explicit (LEAD: "
                          "0.2); default: any", ge=0, le=1000),
            ]
            | None
        ) = None  # fmt: skip

    state = (1.0, 0.0, 0.0, 0.0, 0.0)
    needs_full_filter = True
    needs_unfiltered = True
    stochastic = True
    extra_slots = 1
    needs_think_start = True
    token_classes = (token_classes.MATH,)
    token_parameters = ("swi_first_token",)

    def complete(self, params: ThinkingParams, tokenizer: Any, vocabulary: int) -> ThinkingParams:
        assert isinstance(params, self.Params)
        token_classes.check(tokenizer, "swi_alone", params.swi_alone)
        if params.swi_first_token is None:
            token = token_classes.only_token(tokenizer, _FIRST)
            params = msgspec.structs.replace(params, swi_first_token=token)
        elif params.swi_first_token >= vocabulary:
            raise ValueError(
                f"{KEY}.swi_first_token is out of range (allowed: [0, {vocabulary - 1}], the "
                f"tokens of this model); got {params.swi_first_token}."
            )
        return params

    def step(self, context: StepContext) -> NextInput:
        unfiltered = context.sample.unfiltered
        assert unfiltered is not None
        # Its kernel reads the parameters by their order.
        assert context.args is not None
        step = switch_modes(unfiltered.entropy, context.state, context.args, context.ints)
        mixed = compose(
            unfiltered.ids, unfiltered.ratios, context.max_topk,
            soft=step.soft, drawn=context.drawn.ids[:, 0], shown=context.arg("swi_token"),
            alone=context.token_class(token_classes.MATH), guarded=step.guarded,
            token=step.marker, share=step.share,
        )  # fmt: skip
        ids, weights, token = mixed
        return NextInput(ids, weights, token, state=step.state, force_end=step.force_end)

    def log_prob(self, context: StepContext, fed: NextInput) -> Draw:
        unfiltered = context.sample.unfiltered
        assert unfiltered is not None and context.args is not None
        mode = switch_modes(unfiltered.entropy, context.state, context.args, context.ints)
        return context.draw(~mode.soft | mode.guarded | (context.arg("swi_token") == 0))
