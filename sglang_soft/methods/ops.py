"""What several methods compute: sums over slots in a fixed order, sorting, choosing by row.

The sum of a row may not depend on the number of unused slots that the batch adds, nor on the other
rows: `cumsum` adds in the order of the slots. Shapes: A rows, k slots.
"""

import torch
from sglang_soft_kernels.blending.naive import order

__all__ = ["entropy_of", "order", "softmax"]


def softmax(x: torch.Tensor) -> torch.Tensor:
    """Over slots, [A, k]."""
    e = torch.exp(x - x.amax(1, keepdim=True))
    return e / e.cumsum(1)[:, -1:]


def entropy_of(probs: torch.Tensor) -> torch.Tensor:
    """-sum p log p over slots, in nats; 0 log 0 is 0. [A, k] -> [A]."""
    return -torch.special.xlogy(probs, probs).cumsum(1)[:, -1]
