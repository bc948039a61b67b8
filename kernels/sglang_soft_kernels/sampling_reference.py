"""Soft sampling in plain PyTorch: the specification of `sampling_triton` and the CPU path.

From logits to a concept token: entropy, filter (top-k, top-p, min-p) and the n largest probabilities
(arXiv 2505.15778, sections 3.2 and 3.3). Shapes: B requests, V vocabulary, K static slots, W partial sort.

Every filter keeps a prefix of the descending order, and min-p and the final renormalisation do not depend on
the scale, so a step is one partial sort and one prefix: e[:L] / sum(e[:L]) with e = exp((z - max z) / T).

Tie rule: tokens are ordered by (logit descending, id ascending), exactly. It is decided on the float32
logits and not on probabilities, so neither rounding nor the temperature can create or break a tie;
-0.0 equals 0.0.

Batch invariance: a row's result is the same bits whatever B, the other rows and `max_top_k` are. Only ops
that treat rows alone, or that IEEE fixes element by element, are used on [B, V]; sums over V go through
`row_sum`.
"""

from typing import NamedTuple

import torch

TINY = 2.0**-126
"""Smallest e that counts: below it GPUs flush float32 to 0 and CPUs do not."""

_SUM_BLOCK = 1024


class SoftSample(NamedTuple):
    """One concept token a row."""

    ids: torch.Tensor
    """[B, K] int32, most probable first; ids[:, 0] is the readable token; unused slots repeat it."""
    weights: torch.Tensor
    """[B, K] float32 (float64 when evaluated so), sums to 1; unused slots are 0."""
    entropy: torch.Tensor
    """[B] like weights: nats, whole vocabulary, after temperature, before the filter; T = 1 where greedy."""


def soft_sample(
    logits: torch.Tensor,
    temperature: torch.Tensor,
    top_k: torch.Tensor,
    top_p: torch.Tensor,
    min_p: torch.Tensor,
    n: torch.Tensor,
    *,
    K: int,
    max_top_k: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> SoftSample:
    """One soft step for B rows. No host synchronisation; `logits` is not modified.

    logits: [B, V], no nan or +inf, at least one finite a row. temperature: [B] float32, 0 = greedy (one-hot
    argmax). top_k: [B] int, <= 0 or >= V = all. top_p, min_p: [B] float32. n: [B] int in 1..K, the row's
    own K. max_top_k: host-known upper bound of the enabled top_k (0: none is enabled), which limits the
    partial sort; None sorts everything. dtype: float64 evaluates the same formulas in double precision.
    """
    V = logits.shape[1]
    logits = logits.float()
    greedy = temperature == 0
    T = torch.where(greedy, 1.0, temperature.float()).to(dtype)[:, None]

    # The maximum is subtracted before the division, so a tiny temperature cannot overflow; the clamp keeps
    # 0 * -inf out of the entropy. exp(-1e30) is 0.
    x = logits.to(dtype)
    x = (x - x.amax(1, keepdim=True)).div_(T).clamp_(min=-1e30)
    e = x.exp()  # probabilities times Z; the largest is exactly 1
    Z = row_sum(e)
    Z64 = Z.double()
    # H = log Z - sum p x: both terms are >= 0, so nothing cancels, and one-hot rows give exactly 0. log in
    # float64: in float32 its last bit may differ with the position in the batch.
    entropy = (Z64.log() - row_sum(x.mul_(e)).double() / Z64).to(dtype)

    width = V if max_top_k is None else min(V, max(K, max_top_k))
    order = sorted_ids(logits, width)
    e = e.gather(1, order)
    mass = e.cumsum(1)
    mass_before = torch.nn.functional.pad(mass, (1, -1))

    top_k = top_k.long()[:, None]
    all_k = (top_k <= 0) | (top_k >= V)
    total = torch.where(all_k, Z[:, None], mass.gather(1, (top_k - 1).clamp(0, width - 1)))
    top_p, min_p = top_p.to(dtype)[:, None], min_p.to(dtype)[:, None]
    limit = torch.where(greedy, 1, n.long())[:, None]
    rank = torch.arange(width, device=logits.device)
    keep = (e >= TINY) & (e >= min_p) & (rank < limit) & (all_k | (rank < top_k))
    # top_p >= 1 is "off": a sum that rounds to more than the total must not drop the tail.
    keep &= (mass_before <= top_p * total) | (top_p >= 1)
    keep[:, 0] = True  # holds for valid parameters; rows that pad a batch stay free of 0 / 0

    keep = keep[:, :K]
    e = torch.where(keep, e[:, :K], 0.0)
    ids = torch.where(keep, order[:, :K], order[:, :1])
    if width < K:
        e = torch.nn.functional.pad(e, (0, K - width))
        ids = torch.cat([ids, order[:, :1].expand(-1, K - width)], 1)
    return SoftSample(ids.int(), e / e.cumsum(1)[:, -1:], entropy)


def sorted_ids(logits: torch.Tensor, width: int) -> torch.Tensor:
    """The `width` first ids of every row in (logit descending, id ascending) order; [B, V] float32 -> [B,
    width].

    torch.topk promises no order among equal values. So it gets 64-bit keys that are all different: the
    high half orders as the float does, the low half prefers small ids.
    """
    bits = (logits + 0.0).view(torch.int32)  # + 0.0 turns -0.0 into 0.0
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    low = 0xFFFFFFFF - torch.arange(logits.shape[1], device=logits.device)
    keys = torch.add(low, ordered, alpha=1 << 32)
    if width == logits.shape[1]:
        return keys.sort(1, descending=True).indices
    return keys.topk(width, 1).indices


def row_sum(x: torch.Tensor) -> torch.Tensor:
    """Sum over the last dimension in a fixed order: [B, V] -> [B].

    torch.sum splits a long row over threads when B is 1 and not when it is 2, which changes the rounding.
    Blocks of a fixed size are below the length where it splits.
    """
    x = torch.nn.functional.pad(x, (0, -x.shape[1] % _SUM_BLOCK))
    return x.view(x.shape[0], -1, _SUM_BLOCK).sum(2).sum(1)
