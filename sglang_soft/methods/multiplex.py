from collections.abc import Mapping
from typing import Any

import torch

from sglang_soft.fields import Field
from sglang_soft.methods.base import Method, Proposal, View, order

WEIGHTINGS = ("mean", "prob")


class Multiplex(Method):
    """K tokens drawn independently from Filter(p), and the mean of their embeddings.

    A token drawn c times weighs c / K (`mean`), or each distinct one by its probability (`prob`);
    readable: the largest weight, of equal ones the most probable token.
    """

    name = "multiplex"
    source = "arXiv 2601.08808"
    fields = (
        Field("multiplex_weighting", str, "mean", "one of " + ", ".join(WEIGHTINGS), lambda v: v in WEIGHTINGS,
              "Weight of a drawn token: how often it was drawn, or its probability"),
    )  # fmt: skip
    defaults = {"max_topk": 3, "temperature": 1.0, "top_p": 0.95}
    draws = True
    random = True

    def args(self, values: Mapping[str, Any]) -> tuple[float, ...]:
        return (float(WEIGHTINGS.index(values["multiplex_weighting"])),)

    def step(self, view: View) -> Proposal:
        k = view.width
        _, ranks = view.drawn(k)
        counted = torch.arange(k, device=ranks.device) < view.max_topk[:, None]
        # In the order of the candidates, so that equal weights keep it; draws beyond the row's own
        # K come last.
        ranks = torch.where(counted, ranks, view.ids.shape[1]).sort(1).values
        counted = ranks < view.ids.shape[1]
        same = (ranks[:, :, None] == ranks[:, None, :]) & counted[:, None, :]
        first = counted & ~torch.tril(same, -1).any(2)
        ranks = ranks.clamp(max=view.ids.shape[1] - 1)
        weights = torch.where(
            view.arg("multiplex_weighting")[:, None] == 1, view.probs.gather(1, ranks), same.sum(2)
        )
        weights = torch.where(first, weights, 0.0)
        ids, weights = order(view.ids.gather(1, ranks), weights / weights.cumsum(1)[:, -1:])
        return Proposal(ids, weights, ids[:, 0])
