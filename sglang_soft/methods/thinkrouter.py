import torch

from sglang_soft.fields import Field
from sglang_soft.methods.base import Method, Proposal, View


class ThinkRouter(Method):
    """Soft where the model is sure, discrete where it is not.

    Soft if the largest probability (before the filter) is at least a threshold, else one token
    drawn from Filter(p).
    """

    name = "thinkrouter"
    source = "arXiv 2602.11683"
    fields = (
        Field("router_threshold", float, 0.5, "[0, 1]", lambda v: 0 <= v <= 1,
              "Least largest probability of a soft step (paper: chosen on a validation set)"),
    )  # fmt: skip
    draws = True
    random = True

    def step(self, view: View) -> Proposal:
        soft = largest_probability(view.logits, view.temperature) >= view.arg("router_threshold")
        return either(soft, Proposal(*view.top(), view.ids[:, 0]), view.discrete())


def either(condition: torch.Tensor, yes: Proposal, no: Proposal) -> Proposal:
    """`yes` where condition [B] holds, else `no`; `no` may have fewer slots."""
    missing = yes.ids.shape[1] - no.ids.shape[1]
    ids, weights = (torch.nn.functional.pad(x, (0, missing)) for x in (no.ids, no.weights))
    return Proposal(
        torch.where(condition[:, None], yes.ids, ids),
        torch.where(condition[:, None], yes.weights, weights),
        torch.where(condition, yes.token, no.token),
    )


def largest_probability(logits: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    """max softmax(z / T): [B, V], [B] -> [B]."""
    from sglang_soft_kernels.sampling_reference import row_sum

    x = logits.float()
    return 1 / row_sum(torch.exp((x - x.amax(1, keepdim=True)) / temperature[:, None]))
