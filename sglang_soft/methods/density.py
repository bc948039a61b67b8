"""Log-densities of what a step drew, of all rows at once.

Weights have theirs with respect to dw_1 .. dw_(n-1) / (w_1 .. w_n), the measure in which small
weights count like large ones; it cancels in every ratio of two policies. A weight below LEAST is
not told apart from 0: what counts of it is the probability to be that small. So a density stays
finite where float32 has no number for a weight. In float64; sums run over a row's own slots.
Shapes: A rows, k slots, H hidden size.
"""

import math

import torch

LEAST = 2.0**-126
"""Least weight that counts: below it GPUs flush float32 to 0 and CPUs do not."""


def weights_of(
    ids: torch.Tensor, probs: torch.Tensor, fed_ids: torch.Tensor, fed_weights: torch.Tensor
) -> torch.Tensor:
    """What is fed, in the order of the candidates: [A, k] float32, 0 in unused slots.

    ids: [A, k] int32; probs: [A, k], 0: unused. fed_ids, fed_weights: [A, f], in any order."""
    same = (ids[:, :, None] == fed_ids[:, None, :]) & (probs > 0)[:, :, None]
    return (same * fed_weights[:, None, :]).sum(2)


def concrete(weights: torch.Tensor, probs: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    """w = softmax((log p + g) / t) with Gumbel noise g (arXiv 1611.00712, 1611.01144): [A].

    log (n-1)! + (n-1) log t + sum_i (log p_i - t log w_i) - n log sum_j p_j max(w_j, LEAST)^-t

    i over the n weights that count, j over all candidates. weights, probs: [A, k] float32;
    temperature: [A]."""
    w, p, t = weights.double(), probs.double(), temperature.double()[:, None]
    counts, n = w >= LEAST, (w >= LEAST).sum(1).double()
    scores = p.log() - t * w.clamp(min=LEAST).log()  # -inf in unused slots
    own = torch.where(counts, scores, 0.0).sum(1)
    total = torch.lgamma(n) + (n - 1) * t[:, 0].log() + own - n * scores.logsumexp(1)
    return total.float()


def dirichlet(
    weights: torch.Tensor, probs: torch.Tensor, concentration: torch.Tensor
) -> torch.Tensor:
    """w ~ Dir(a), a = concentration times probs: [A].

    lgamma(sum a) + sum_i (a_i log w_i - lgamma(a_i)) + sum_j (a_j log LEAST - lgamma(a_j + 1))

    i over the weights that count, j over the candidates whose weights do not. weights, probs:
    [A, k] float32; concentration: [A]."""
    w, a = weights.double(), probs.double() * concentration.double()[:, None]
    counts = w >= LEAST
    powers = a * w.clamp(min=LEAST).log()
    gammas = torch.lgamma(torch.where(counts, a, a + 1))  # of an unused slot lgamma(1), which is 0
    return (torch.lgamma(a.sum(1)) + (powers - gammas).sum(1)).float()


def normal(offset: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """N(0, sigma^2 I) at an offset, with respect to its elements: [A]; 0 where sigma is 0.

    offset: [A, H]; sigma: [A]."""
    x, s = offset.double(), sigma.double()
    hidden = x.shape[1]
    scaled = (x / s[:, None]).square().sum(1)
    total = -0.5 * (scaled + hidden * math.log(2 * math.pi)) - hidden * s.log()
    return torch.where(s > 0, total, 0.0).float()
