"""Log-probabilities of steps by the model's logits, from the formulas of docs/training.md alone.

Shapes: n steps, V vocabulary, d drawn tokens of a step, H hidden size. Everything is float64 and
differentiable in the logits (and in what else is marked).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

LEAST = 2.0**-126
"""A smaller weight is one that float32 may not hold."""


class Filter(NamedTuple):
    """Sampling of the thought, as a trace's params have it."""

    temperature: float
    top_k: int
    """-1: all."""
    top_p: float
    min_p: float
    most: int
    """Tokens that are kept at most: V, or `max_topk` where a method draws from its candidates."""


def log_filtered(logits: Tensor, of: Filter, always: Tensor) -> Tensor:
    """log Filter(p) of every token, [n, V]; -inf of those that it drops.

    Which tokens are kept is a decision, not differentiated. Rounding may decide it otherwise than
    in the engine; so the tokens `always`, [n, d] (-1: none), are kept in any case."""
    scaled = logits.double() / of.temperature
    with torch.no_grad():
        # Sorted by (logit, id), as the engine does.
        order = torch.sort(logits.float(), dim=1, descending=True, stable=True).indices
        p = scaled.softmax(1).gather(1, order)
        place = torch.arange(p.shape[1], device=p.device)
        p = p * (place < (of.top_k if of.top_k > 0 else p.shape[1]))
        p = p / p.sum(1, keepdim=True)
        kept = (p.cumsum(1) - p <= of.top_p) | (of.top_p >= 1)
        kept &= (p >= of.min_p * p[:, :1]) & (p > 0) & (place < of.most)
        mask = torch.zeros_like(kept).scatter(1, order, kept)
        rows, slots = (always >= 0).nonzero(as_tuple=True)
        mask[rows, always[rows, slots]] = True
    return scaled.masked_fill(~mask, -math.inf).log_softmax(1)


def of_draws(logits: Tensor, drawn: Tensor, keep: Filter) -> Tensor:
    """[n]: sum of log Filter(p) of the drawn tokens, [n, d] int64 (-1: none)."""
    each = log_filtered(logits, keep, drawn).gather(1, drawn.clamp(min=0))
    return torch.where(drawn >= 0, each, 0.0).sum(1)


def log_candidates(logits: Tensor, drawn: Tensor, temperature: float) -> Tensor:
    """[n, d]: log-probabilities of the candidates among themselves; -inf where there is none."""
    scaled = logits.double().gather(1, drawn.clamp(min=0)) / temperature
    return scaled.masked_fill(drawn < 0, -math.inf).log_softmax(1)


def of_concrete(log_p: Tensor, weights: Tensor, t: float) -> Tensor:
    """[n]: log-density of w = softmax((log p + g) / t). log_p: [n, d], -inf: no token.

    x_i = exp(-log p_i - g_i) are exponential clocks of rate p_i, and log x_i = -t log w_i but for
    a number that all share. Integrated over that number:

    (m - 1)! t^(m-1) prod_i p_i w_i^-t / (sum_j p_j max(w_j, LEAST)^-t)^m

    i over the m weights that are seen, j over all: a clock that is not seen rings later."""
    w = weights.double()
    seen = (w >= LEAST) & (log_p > -math.inf)
    m = seen.sum(1).double()
    clocks = log_p - t * w.clamp(min=LEAST).log()
    rung = clocks.masked_fill(~seen, 0.0).sum(1)
    return torch.lgamma(m) + (m - 1) * math.log(t) + rung - m * clocks.logsumexp(1)


def of_dirichlet(log_p: Tensor, weights: Tensor, gamma: float) -> Tensor:
    """[n]: log-density of w ~ Dir(gamma p) with respect to dw / prod_i w_i. log_p: [n, d].

    Gamma(sum a) prod_seen w_i^a_i / Gamma(a_i) prod_unseen LEAST^a_j / Gamma(a_j + 1)"""
    w, a = weights.double(), gamma * log_p.exp()
    some, seen = log_p > -math.inf, w >= LEAST
    each = a * w.clamp(min=LEAST).log() - torch.lgamma(torch.where(seen, a, a + 1))
    return torch.lgamma(a.sum(1)) + each.masked_fill(~some, 0.0).sum(1)


def of_normal(log_p: Tensor, drawn: Tensor, table: Tensor, vectors: Tensor, scale: float) -> Tensor:
    """[n]: log N(fed vector; sum_i p_i E[i], sigma^2 I), sigma = scale times the table's RMS.

    table: [V, H], differentiable too. vectors: [n, H], what was fed. 0 where scale is 0."""
    if scale == 0:
        return log_p.new_zeros(len(log_p))
    E = table.double()
    mean = (log_p.exp()[..., None] * E[drawn.clamp(min=0)]).sum(1)
    sigma = scale * E.square().mean().sqrt()
    return torch.distributions.Normal(mean, sigma).log_prob(vectors.double()).sum(1)
