from typing import Annotated

import torch

from sglang_soft.params import MAX_INT, StopParams, described
from sglang_soft.stopping.base import StopContext, StopRule

MAX_WINDOW = 16
"""Most steps of the window, and most votes: the state has room for so many."""
_OURS = " (not published; this value is ours)"
_FEW = {"ge": 1, "le": MAX_WINDOW}
_STEPS = {"ge": 0, "le": 2**24}


class Leash(StopRule):
    """Where the entropy has fallen and stands still, and the lead of the first token with it.

    H: entropy in nats of softmax(z), whole vocabulary, temperature 1; M: log-probability of the
    first token less that of the second; n: steps seen, this one included; H_ref: median of the
    first `window` H. A step votes if n > `window` and the largest probability is below
    `saturation`; yes where H has not fallen by more than `entropy_slope` a step over the window and
    M has not grown by more than `margin_gain`. Stop at n >= `max_tokens`; and where H_ref - H >=
    `entropy_drop` and half of the last `votes` votes are yes, from n = `min_tokens` + `warm_up` on
    (and `window` + `votes`). The paper does not give `warm_up`, `entropy_drop` and `saturation`,
    nor the bound by which it clips logits: here they are not clipped.
    """

    name = "leash"
    source = "arXiv 2511.04654"
    state = (0.0,) * (2 * MAX_WINDOW + 4)
    # H of the last steps, M of them (step i in slot i % window), steps, H_ref, votes cast that
    # count, and those that are yes as the bits of a number, the last one lowest.

    class Params(StopParams, tag="leash", kw_only=True, frozen=True):
        window: Annotated[int, described("Steps over which a slope is taken", **_FEW)] = 8
        votes: Annotated[int, described("Last votes that count", **_FEW)] = 5
        entropy_slope: Annotated[
            float, described("Nats a step by which the entropy may still fall", ge=0)
        ] = 0.005
        margin_gain: Annotated[
            float, described("Nats by which the lead may grow over the window", ge=0)
        ] = 0.05
        min_tokens: Annotated[int, described("Steps before the rule may stop", **_STEPS)] = 64
        warm_up: Annotated[int, described("Further steps" + _OURS, **_STEPS)] = 16
        entropy_drop: Annotated[
            float, described("Nats by which the entropy must be below its beginning" + _OURS, ge=0)
        ] = 0.10
        saturation: Annotated[
            float, described("Largest probability from which on a step does not vote" + _OURS,
                             gt=0, le=1),
        ] = 0.95  # fmt: skip
        max_tokens: Annotated[
            int, described("Step at which the rule stops always", ge=1, le=MAX_INT)
        ] = 320

    def step(self, context: StopContext) -> tuple[torch.Tensor, torch.Tensor]:
        facts, state, arg = context.facts, context.state, context.arg
        H, M = facts.entropy, (facts.largest - facts.second).clamp(max=1e30)
        past_H, past_M = state[:, :MAX_WINDOW], state[:, MAX_WINDOW : 2 * MAX_WINDOW]
        seen, H_ref, cast, yes = state[:, 2 * MAX_WINDOW :].unbind(1)
        window, n = arg("window"), context.think_step + 1

        # Of the rule itself, which may begin in the middle of a thought that a trace goes on with.
        slot = torch.arange(MAX_WINDOW, device=H.device) == (seen % window)[:, None]
        before_H, before_M = ((x * slot).sum(1) for x in (past_H, past_M))
        past_H, past_M = (
            torch.where(slot, now[:, None], past) for now, past in ((H, past_H), (M, past_M))
        )
        seen = seen + 1
        H_ref = torch.where(seen == window, _median(past_H, window), H_ref)

        may = (seen > window) & (facts.max_prob < arg("saturation"))
        vote = ((H - before_H) / window >= -arg("entropy_slope")) & (
            M - before_M <= arg("margin_gain")
        )
        votes, bits = arg("votes"), yes.int()
        bits = torch.where(may, (2 * bits + vote) & ((1 << votes.int()) - 1), bits)
        cast = torch.where(may, torch.minimum(cast + 1, votes), cast)
        count = (bits[:, None] >> torch.arange(MAX_WINDOW, device=H.device) & 1).sum(1)
        agreed = (cast > 0) & (2 * count >= cast)

        early = torch.maximum(arg("min_tokens") + arg("warm_up"), window + votes)
        stops = agreed & (H_ref - H >= arg("entropy_drop")) & (n >= early)
        stops |= n >= arg("max_tokens")
        rest = torch.stack([seen, H_ref, cast, bits.float()], 1)
        return stops, torch.cat([past_H, past_M, rest], 1)


def _median(values: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Of the first `count` of each row: the middle one, or the mean of the middle two. values:
    [A, 16]; count: [A] float32."""
    slots = torch.arange(values.shape[1], device=values.device)
    ordered = torch.where(slots < count[:, None], values, float("inf")).sort(1).values
    last = count.long() - 1
    middle = torch.stack([last // 2, (last + 1) // 2], 1)
    low, high = ordered.gather(1, middle).unbind(1)
    return (low + high) / 2
