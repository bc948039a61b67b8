"""What several methods compute: sums over slots in a fixed order, sorting, choosing by row.

The sum of a row may not depend on the number of unused slots that the batch adds, nor on the other
rows: `cumsum` adds in the order of the slots. Shapes: A rows, k slots.
"""

import torch

from sglang_soft.methods.base import NextInput


def order(ids: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Slots by weight descending, equal ones in the order they came in, unused ones (weight 0)
    last. [A, k] each."""
    key = torch.where(weights == 0, float("-inf"), weights)
    rank = key.argsort(dim=1, descending=True, stable=True)
    return ids.gather(1, rank), weights.gather(1, rank)


def softmax(x: torch.Tensor) -> torch.Tensor:
    """Over slots, [A, k]."""
    e = torch.exp(x - x.amax(1, keepdim=True))
    return e / e.cumsum(1)[:, -1:]


def entropy_of(probs: torch.Tensor) -> torch.Tensor:
    """-sum p log p over slots, in nats; 0 log 0 is 0. [A, k] -> [A]."""
    return -torch.special.xlogy(probs, probs).cumsum(1)[:, -1]


def normalised_entropy(p: torch.Tensor, max_topk: torch.Tensor) -> torch.Tensor:
    """H(p) / log k in [0, 1]; 0 where k is 1. p: [A, k]; max_topk: [A]. Returns [A]."""
    return torch.where(max_topk > 1, entropy_of(p) / max_topk.clamp(min=2).float().log(), 0.0)


def either(condition: torch.Tensor, yes: NextInput, no: NextInput) -> NextInput:
    """`yes` where condition [A] holds, else `no`; either may have fewer slots."""
    k = max(yes.ids.shape[1], no.ids.shape[1])

    def wide(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(x, (0, k - x.shape[1]))

    rows = condition[:, None]
    return NextInput(
        torch.where(rows, wide(yes.ids), wide(no.ids)),
        torch.where(rows, wide(yes.weights), wide(no.weights)),
        torch.where(condition, yes.output_token, no.output_token),
    )


def blend(
    ids: torch.Tensor, weights: torch.Tensor, extra: torch.Tensor, extra_weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add one token, in the slot that holds it already or in a new one.

    ids, weights: [A, k]; extra, extra_weight: [A, 1]. Returns [A, k + 1] each, ordered.
    """
    here = (ids == extra) & (weights != 0)
    weights = torch.where(here, weights + extra_weight, weights)
    added = torch.where(here.any(1, keepdim=True), 0.0, extra_weight)
    return order(torch.cat([ids, extra.to(ids.dtype)], 1), torch.cat([weights, added], 1))
