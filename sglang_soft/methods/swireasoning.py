import torch
from sglang_soft_kernels import soft_sample
from sglang_soft_kernels.layout import Filter

from sglang_soft.fields import Field
from sglang_soft.methods.base import Method, Proposal, View, order
from sglang_soft.methods.thinkrouter import either

LATENT, REFERENCE, AGE, SWITCHES, STARTED = range(5)
"""Columns of the state."""


class SwiReasoning(Method):
    """Latent and explicit thinking in turn, switched by the trend of the entropy.

    H: entropy at temperature 1; R: H at the last switch (first: at the first step). Latent, the K
    most probable tokens at temperature 1 are mixed; explicit, one token is drawn from Filter(p).
    Latent becomes explicit where H < R; explicit becomes latent where H > R and the explicit block
    has lasted W steps. At a switch to latent the think-start embedding is blended in, w = alpha w +
    (1 - alpha) think-start, at a switch to explicit think-end with beta; alpha and beta grow
    linearly from their start to 1 over max_new_tokens. A switch to explicit beyond the C allowed
    ones concludes: think-end is forced. The paper mixes the whole vocabulary; here it is the K most
    probable, renormalised.
    """

    name = "swireasoning"
    source = "arXiv 2510.05069"
    fields = (
        Field("swi_window", int, 512, "[0, 2^24]", lambda v: 0 <= v <= 2**24,
              "W: least number of explicit steps before a switch to latent"),
        Field("swi_alpha", float, 0.6, "[0, 1]", lambda v: 0 <= v <= 1,
              "alpha at the start: share of the mixture beside think-start (paper: 0.1-1, by hand for each model)"),
        Field("swi_beta", float, 0.7, "[0, 1]", lambda v: 0 <= v <= 1,
              "beta at the start: share of the drawn token beside think-end"),
        Field("swi_max_switches", int, None, "[0, 2^24]", lambda v: 0 <= v <= 2**24,
              "C: switches to explicit before the method concludes; default: no bound"),
    )  # fmt: skip
    state = (1.0, 0.0, 0.0, 0.0, 0.0)
    draws = True
    random = True
    extra_slots = 1
    needs_think_start = True

    def step(self, view: View) -> Proposal:
        B, one = len(view.ids), torch.ones_like(view.entropy)
        k = min(view.width - 1, view.logits.shape[1])  # one slot is kept for the think token
        n = torch.minimum(view.max_topk, torch.full_like(view.max_topk, k))
        off = Filter.of(temperature=1.0, top_k=-1, top_p=1.0, min_p=0.0, n=k)
        top_k, top_p, min_p = (
            torch.full_like(x, v) for x, v in ((n, off.top_k), (one, off.top_p), (one, off.min_p))
        )
        latent = soft_sample(view.logits, one, top_k, top_p, min_p, n, K=k, max_top_k=0)
        H = latent.entropy

        was_latent, started = view.state[:, LATENT] == 1, view.state[:, STARTED] == 1
        reference = torch.where(started, view.state[:, REFERENCE], H)
        age = torch.where(started, view.state[:, AGE] + 1, 0.0)
        switches = view.state[:, SWITCHES]
        falls = started & was_latent & (reference > H)
        conclude = falls & (switches >= view.arg("swi_max_switches"))
        to_explicit = falls & ~conclude
        to_latent = started & ~was_latent & (reference < H) & (age >= view.arg("swi_window"))
        switched = to_explicit | to_latent
        is_latent = (was_latent & ~to_explicit) | to_latent
        state = torch.stack(
            [
                is_latent.float(),
                torch.where(switched, H, reference),
                torch.where(switched, 0.0, age),
                switches + to_explicit.float(),
                torch.ones(B, device=H.device),
            ],
            1,
        )

        fed = either(
            is_latent, Proposal(latent.ids, latent.weights, latent.ids[:, 0]), view.discrete()
        )
        start_share = torch.where(to_latent, view.arg("swi_alpha"), view.arg("swi_beta"))
        share = start_share + (1 - start_share) * (view.position / view.horizon)
        share = torch.where(switched, share.clamp(max=1.0), 1.0)[:, None]
        marker = torch.where(to_latent, view.think_start, view.think_end)[:, None]
        ids, weights = blend(fed.ids, fed.weights * share, marker, 1 - share)
        return Proposal(ids, weights, fed.token, state=state, conclude=conclude)


def blend(
    ids: torch.Tensor, weights: torch.Tensor, extra: torch.Tensor, extra_weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add one token, in the slot that holds it already or in a new one. [B, k], [B, 1] -> [B, k +
    1], ordered."""
    here = (ids == extra) & (weights != 0)
    weights = torch.where(here, weights + extra_weight, weights)
    weights = torch.cat([weights, torch.where(here.any(1, keepdim=True), 0.0, extra_weight)], 1)
    return order(torch.cat([ids, extra.to(ids.dtype)], 1), weights)
