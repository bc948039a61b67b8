"""Soft sampling in plain PyTorch: the specification of `triton` and `cpu`.

From logits to a concept token: entropy, filter (top-k, top-p, min-p) and the most probable tokens
(arXiv 2505.15778, sections 3.2 and 3.3). Shapes: N rows of the batch, A of them that are computed,
V vocabulary, k static slots, W partial sort.

Every filter keeps a prefix of the descending order, and min-p and the final renormalisation do not
depend on the scale, so a step is one partial sort and one prefix: e[:L] / sum(e[:L]) with
e = exp((z - max z) / T).

Tie rule: tokens are ordered by (logit descending, id ascending), exactly. It is decided on the
float32 logits and not on probabilities, so neither rounding nor the temperature can create or break
a tie; -0.0 equals 0.0.

Batch invariance: a row's result is the same bits whatever A, the other rows and `top_k_bound` are.
Only operators that treat rows alone, or that IEEE fixes element by element, are used on [A, V];
sums over V go through `row_sum`.
"""

from typing import NamedTuple

import torch

from ..dispatch import dispatch

_SUM_BLOCK = 1024


class Unfiltered(NamedTuple):
    """The distribution at temperature 1, before any filter, from the same scan."""

    ids: torch.Tensor
    """[A, m] int32, most probable first."""
    ratios: torch.Tensor
    """[A, m] float32: probability relative to that of the first, which is 1."""
    entropy: torch.Tensor
    """[A] float32: nats, whole vocabulary."""


class Drawn(NamedTuple):
    """Tokens drawn from the distribution that the filter leaves."""

    ids: torch.Tensor
    """[A, n] int32"""
    ranks: torch.Tensor
    """[A, n] int32: place in the order of the tokens; equal tokens have equal ones."""
    probs: torch.Tensor
    """[A, n] float32"""


class SoftSample(NamedTuple):
    """One concept token a row."""

    ids: torch.Tensor
    """[A, k] int32, most probable first; unused slots repeat ids[:, 0]."""
    weights: torch.Tensor
    """[A, k] float32 (float64 when evaluated so), sums to 1; unused slots are 0."""
    entropy: torch.Tensor
    """[A] like weights: nats, whole vocabulary, after temperature, before the filter; T = 1 where
    greedy."""
    max_prob: torch.Tensor
    """[A] like weights: the largest probability, after temperature, before the filter."""
    unfiltered: Unfiltered | None = None
    drawn: Drawn | None = None


@dispatch
def soft_sample(
    logits: torch.Tensor,
    temperature: torch.Tensor,
    top_k: torch.Tensor,
    top_p: torch.Tensor,
    min_p: torch.Tensor,
    num_candidates: torch.Tensor,
    *,
    k: int,
    sizes: torch.Tensor | None = None,
    top_k_bound: int | None = None,
    index: torch.Tensor | None = None,
    unfiltered: int = 0,
    uniforms: torch.Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> SoftSample:
    """One soft step. No host synchronisation; `logits` is not modified.

    logits: [N, V], no nan or +inf, at least one finite a row. The rest as `layout.Filter` has it:
    temperature: [A] float32. top_k: [A] int32. top_p, min_p: [A] float32. num_candidates: [A]
    int32. sizes: [A] int32, 1 .. k: at most so many tokens in ids and weights; None: k.
    top_k_bound: host-known upper bound of the enabled top_k (0: none is enabled), which limits the
    partial sort; None sorts everything. index: [A] int64 rows to compute; None: all, A = N.
    unfiltered: m <= min(k, V); above 0, `SoftSample.unfiltered` is there. uniforms: [A, n] float32
    in (0, 1): `SoftSample.drawn` is there, drawn by inverse CDF in the order of the tokens from all
    that the filter keeps, at most num_candidates, whatever k is. dtype: float64 evaluates the same
    formulas in double precision (naive only).

    On a GPU k is at most 128, and nothing sorts whole rows.
    """
    if index is not None:
        logits = logits[index]
    V = logits.shape[1]
    logits = logits.float()
    # The maximum is subtracted before the division, so a tiny temperature cannot overflow; the
    # clamp keeps 0 * -inf out of the entropy. exp(-1e30) is 0.
    x = logits.to(dtype)
    x = (x - x.amax(1, keepdim=True)).div_(temperature[:, None]).clamp_(min=-1e30)
    e = x.exp()  # probabilities times Z; the largest is exactly 1
    Z = row_sum(e)
    # H = log Z - sum p x: both terms are >= 0, so nothing cancels, and one-hot rows give exactly 0.
    # In float64: in float32 the last bit of a log may differ with the position in the batch.
    Z64 = Z.double()
    entropy = (Z64.log() - row_sum(x.mul_(e)) / Z64).to(dtype)

    width = V if top_k_bound is None or uniforms is not None else min(V, max(k, top_k_bound))
    order = sorted_ids(logits, width)
    at_one = _unfiltered(logits, order[:, :unfiltered]) if unfiltered else None
    e = e.gather(1, order)
    mass = e.cumsum(1)
    total = Z[:, None]
    if top_k_bound != 0:  # after the last column: all
        last = (top_k.clamp(max=width + 1) - 1).long()
        total = torch.cat([mass, total], 1).gather(1, last[:, None])

    keep = (e >= min_p[:, None]) & (torch.arange(width, device=e.device) < num_candidates[:, None])
    keep &= mass - e <= top_p[:, None] * total
    e = e * keep
    drawn = None if uniforms is None else _drawn(e, order, uniforms)
    e, order, keep = e[:, :k], order[:, :k], keep[:, :k]
    if sizes is not None:
        keep = keep & (torch.arange(keep.shape[1], device=e.device) < sizes[:, None])
        e = e * keep
    ids = torch.where(keep, order, order[:, :1]).int()
    if width < k:
        e = torch.nn.functional.pad(e, (0, k - width))
        ids = torch.cat([ids, ids[:, :1].expand(-1, k - width)], 1)
    return SoftSample(ids, e / e.cumsum(1)[:, -1:], entropy, 1 / Z, at_one, drawn)


def _unfiltered(logits: torch.Tensor, order: torch.Tensor) -> Unfiltered:
    """logits: [A, V] float32; order: [A, m], the most probable tokens."""
    x = (logits - logits.amax(1, keepdim=True)).clamp_(min=-1e30)
    e = x.exp()
    Z = row_sum(e).double()
    entropy = (Z.log() - row_sum(x.mul(e)) / Z).float()
    return Unfiltered(order.int(), e.gather(1, order), entropy)


def _drawn(e: torch.Tensor, order: torch.Tensor, uniforms: torch.Tensor) -> Drawn:
    """e: [A, V] mass that is kept, in the order of the tokens."""
    mass = e.cumsum(1)
    ranks = torch.searchsorted(mass, uniforms.to(e.dtype) * mass[:, -1:], right=True)
    # A target that rounds up to the mass must not leave what is kept.
    ranks = torch.minimum(ranks, (e > 0).sum(1, keepdim=True) - 1)
    ids, probs = order.gather(1, ranks), e.gather(1, ranks) / mass[:, -1:]
    return Drawn(ids.int(), ranks.int(), probs)


def sorted_ids(logits: torch.Tensor, width: int) -> torch.Tensor:
    """The `width` first ids of every row in (logit descending, id ascending) order; [B, V] float32
    -> [B, width].

    torch.topk promises no order among equal values. So it gets 64-bit keys that are all different:
    the high half orders as the float does, the low half prefers small ids.
    """
    V = logits.shape[1]
    bits = (logits + 0.0).view(torch.int32)  # + 0.0 turns -0.0 into 0.0
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    small_ids_first = 0xFFFFFFFF - torch.arange(V, device=logits.device)
    keys = torch.add(small_ids_first, ordered, alpha=1 << 32)
    return keys.topk(width, 1).indices if width < V else keys.sort(1, descending=True).indices


def row_sum(x: torch.Tensor) -> torch.Tensor:
    """Sum over the last dimension in a fixed order: [B, V] -> [B].

    torch.sum splits a long row over threads when B is 1 and not when it is 2, which changes the
    rounding. Blocks of a fixed size are below the length where it splits.
    """
    x = torch.nn.functional.pad(x, (0, -x.shape[1] % _SUM_BLOCK))
    return x.view(x.shape[0], x.shape[1] // _SUM_BLOCK, _SUM_BLOCK).sum(2).sum(1)
