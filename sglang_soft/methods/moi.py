import torch

from sglang_soft.fields import Field
from sglang_soft.methods.base import Method, Proposal, View, entropy_of, order


class MixtureOfInputs(Method):
    """A drawn token blended with the distribution it was drawn from, the more of the latter the
    less certain it is.

    w = (h p + (beta + 1 - h) y) / (beta + 1) over the K most probable tokens, y one-hot of a token
    drawn from them, h = H(p) / log K; readable: the drawn token. The authors apply it to every
    generated token, here it thinks only.
    """

    name = "moi"
    source = "arXiv 2505.14827"
    fields = (
        Field("moi_beta", float, 1.0, "[0, 1000]", lambda v: 0 <= v <= 1000,
              "beta: weight of the drawn token (paper: 0.5-2)"),
    )  # fmt: skip
    defaults = {"max_topk": 20}
    random = True

    def step(self, view: View) -> Proposal:
        ids, p = view.top()
        drawn = view.noise.draw(p)
        h = normalised_entropy(p, view.max_topk)[:, None]
        beta = view.arg("moi_beta")[:, None]
        y = torch.zeros_like(p).scatter_(1, drawn, 1.0)
        token = ids.gather(1, drawn)[:, 0]
        ids, weights = order(ids, (h * p + (beta + 1 - h) * y) / (beta + 1))
        return Proposal(ids, weights, token)


def normalised_entropy(p: torch.Tensor, max_topk: torch.Tensor) -> torch.Tensor:
    """H(p) / log K in [0, 1]; 0 where K is 1. p: [B, k]; max_topk: [B]. Returns [B]."""
    return torch.where(max_topk > 1, entropy_of(p) / max_topk.clamp(min=2).float().log(), 0.0)
