from typing import Annotated

import torch

from sglang_soft.methods.base import Method, NextInput, StepContext
from sglang_soft.methods.ops import blend, either
from sglang_soft.params import ThinkingParams, described

LATENT, REFERENCE, AGE, SWITCHES, STARTED = range(5)
"""Columns of the state."""

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
        k = unfiltered.ids.shape[1]
        mine = torch.arange(k, device=unfiltered.ids.device) < context.max_topk[:, None]
        ratios = torch.where(mine, unfiltered.ratios, 0.0)
        latent_weights = ratios / ratios.cumsum(1)[:, -1:]
        H = unfiltered.entropy

        was_latent, started = context.state[:, LATENT] == 1, context.state[:, STARTED] == 1
        reference = torch.where(started, context.state[:, REFERENCE], H)
        age = torch.where(started, context.state[:, AGE] + 1, 0.0)
        switches = context.state[:, SWITCHES]
        falls = started & was_latent & (reference > H)
        force_end = falls & (switches >= context.arg("swi_max_switches"))
        to_explicit = falls & ~force_end
        waited = age >= context.arg("swi_window")
        to_latent = started & ~was_latent & (reference < H) & waited
        switched = to_explicit | to_latent
        is_latent = (was_latent & ~to_explicit) | to_latent
        state = torch.stack(
            [
                is_latent.float(),
                torch.where(switched, H, reference),
                torch.where(switched, 0.0, age),
                switches + to_explicit.float(),
                torch.ones_like(H),
            ],
            1,
        )

        latent = NextInput(unfiltered.ids, latent_weights, unfiltered.ids[:, 0])
        fed = either(is_latent, latent, context.discrete())
        start = torch.where(to_latent, context.arg("swi_alpha"), context.arg("swi_beta"))
        share = start + (1 - start) * (context.think_step / context.max_new_tokens)
        share = torch.where(switched, share.clamp(max=1.0), 1.0)[:, None]
        marker = torch.where(to_latent, context.think_start, context.think_end)[:, None]
        ids, weights = blend(fed.ids, fed.weights * share, marker, 1 - share)
        return NextInput(ids, weights, fed.output_token, state=state, force_end=force_end)
