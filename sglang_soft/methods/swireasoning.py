from typing import Annotated

from sglang_soft_kernels import compose, switch_modes

from sglang_soft.methods.base import Method, NextInput, StepContext
from sglang_soft.params import ThinkingParams, described

_COUNT = {"ge": 0, "le": 2**24}


class SwiReasoning(Method):
    """Latent and explicit thinking in turn, switched by the trend of the entropy.

    H: entropy at temperature 1; R: H at the last switch (first: at the first step). Latent, the k
    most probable tokens at temperature 1 are mixed; explicit, one token is drawn from Filter(p).
    Latent becomes explicit where H < R; explicit becomes latent where H > R and the explicit block
    has lasted W steps. At a switch to latent the think-start embedding is blended in,
    w = alpha w + (1 - alpha) think-start, at a switch to explicit think-end with beta; alpha and
    beta grow linearly from their start to 1 over max_new_tokens. A switch to explicit beyond the C
    allowed ones concludes: think-end is forced. The paper mixes the whole vocabulary; here it is
    the k most probable, renormalised.
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
                      "(paper: 0.1-1, by hand for each model)", ge=0, le=1),
        ] = 0.6  # fmt: skip
        swi_beta: Annotated[
            float,
            described("beta at the start: share of the drawn token, the rest being think-end",
                      ge=0, le=1),
        ] = 0.7  # fmt: skip
        swi_max_switches: (
            Annotated[
                int,
                described("C: switches to explicit before the method concludes; default: no bound",
                          **_COUNT),
            ]
            | None
        ) = None  # fmt: skip

    state = (1.0, 0.0, 0.0, 0.0, 0.0)
    needs_full_filter = True
    needs_unfiltered = True
    stochastic = True
    extra_slots = 1
    needs_think_start = True

    def step(self, context: StepContext) -> NextInput:
        unfiltered = context.sample.unfiltered
        assert unfiltered is not None
        assert context.args is not None
        step = switch_modes(unfiltered.entropy, context.state, context.args, context.ints)
        mixed = compose(
            unfiltered.ids, unfiltered.ratios, context.max_topk,
            soft=step.latent, drawn=context.drawn.ids[:, 0], token=step.marker, share=step.share,
        )  # fmt: skip
        ids, weights, token = mixed
        return NextInput(ids, weights, token, state=step.state, force_end=step.force_end)
