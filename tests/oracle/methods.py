"""The thinking methods without a memory: one function each, from its formula, one request at a
time.

`c` holds p, q and q_n of the step, `noise` its noise. K is `max_topk`. Each returns what is fed
(ids, weights, largest weight first), the output token, the entropy, and how close its decisions
were. `swireasoning` has a file of its own.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import torch

from .candidates import Candidates, closest, listed, smallest_gap
from .noise import Noise, softmax
from .request import Request
from .steps import ThinkingStep


def step_of(
    c: Candidates,
    ids: Sequence[int],
    weights: Sequence[float],
    margins: dict[str, float],
    token: int | None = None,
) -> ThinkingStep:
    """token None: the first slot after sorting."""
    ids, weights = listed(ids, weights)
    token = ids[0] if token is None else token
    return ThinkingStep(token=token, ids=ids, weights=weights, entropy=c.entropy, margins=margins)


def cot(c: Candidates, request: Request, noise: Noise) -> ThinkingStep:
    """One token drawn from all of q."""
    index, margin = noise.draw(c.probs, 0)
    return step_of(c, [c.ids[index]], [1.0], c.drawn(index, margin))


def soft(c: Candidates, request: Request, noise: Noise) -> ThinkingStep:
    """q_K, in float64. (Method "soft" itself is `steps.thinking_step`, in the dtype of the
    logits.)"""
    return step_of(c, *c.first(request.max_topk), c.in_order(request.max_topk))


def soft_gumbel(c: Candidates, request: Request, noise: Noise) -> ThinkingStep:
    """w = softmax((log q_K + g) / t), g ~ Gumbel(0, 1) by token id. arXiv 2508.03440.

    order: between neighbouring log q + g, a weight's logarithm before the division."""
    ids, q = c.first(request.max_topk)
    keys = [math.log(p) + noise.gumbel(i) for i, p in zip(ids, q)]
    weights = softmax([key / request.gumbel_temperature for key in keys])
    shown = set(listed(ids, weights)[0])
    order = smallest_gap([key for i, key in zip(ids, keys) if i in shown])
    return step_of(c, ids, weights, c.as_set(request.max_topk) | order)


def soft_dirichlet(c: Candidates, request: Request, noise: Noise) -> ThinkingStep:
    """w ~ Dir(c * q_K), c = dirichlet_gamma. arXiv 2508.03440.

    order: between neighbouring log w, over how much a relative error of q moves them; gamma: of the
    sampler's decisions."""
    ids, q = c.first(request.max_topk)
    weights, gammas = noise.dirichlet([request.dirichlet_gamma * p for p in q], ids)
    margins = c.as_set(request.max_topk)
    if len(ids) > 1:
        ranked = sorted(gammas, key=lambda g: -g.value)[: len(listed(ids, weights)[0])]
        gaps = [(a.value - b.value) / (1 + a.slope + b.slope) for a, b in pairwise(ranked)]
        margins |= {"gamma": min(g.margin for g in gammas)} | ({"order": min(gaps)} if gaps else {})
    return step_of(c, ids, weights, margins)


def moi(c: Candidates, request: Request, noise: Noise) -> ThinkingStep:
    """Mixture of Inputs: y ~ q_K, h = H(q_K) / log K, w = (h q_K + (beta + 1 - h) onehot(y)) /
    (beta + 1). arXiv 2505.14827."""
    ids, q = c.first(request.max_topk)
    h, beta = normalised_entropy(q, request.max_topk), request.moi_beta
    y, margin = noise.draw(q, 0)
    weights = [(h * p + (beta + 1 - h) * (i == y)) / (beta + 1) for i, p in enumerate(q)]
    order = smallest_gap([math.log(w) for w in listed(ids, weights)[1]])
    margins = closest(c.drawn(y, margin, request.max_topk), c.as_set(request.max_topk), order)
    return step_of(c, ids, weights, margins, token=ids[y])


def multiplex(c: Candidates, request: Request, noise: Noise) -> ThinkingStep:
    """K tokens drawn independently from all of q, of which each weighs 1 / K (mean) or in
    proportion to its q (prob); a token's weights add up. Output token: the first draw, or the first
    slot (largest). arXiv 2601.08808; the weights and the output token as in the sampler of the
    authors' SGLang (`topk_probs`, `topk_indices[:, 0]`)."""
    draws = [noise.draw(c.probs, j) for j in range(request.max_topk)]
    by_mean = request.multiplex_weighting == "mean"
    shares = [1.0 if by_mean else c.probs[draw.index] for draw in draws]
    drawn = sorted({draw.index for draw in draws})  # in the order of q
    total = math.fsum(shares)
    weights = [
        math.fsum(s for s, draw in zip(shares, draws) if draw.index == i) / total for i in drawn
    ]
    margins = closest(*(c.drawn(*draw) for draw in draws))
    token = c.ids[draws[0].index] if request.multiplex_token == "first" else None
    return step_of(c, [c.ids[i] for i in drawn], weights, margins, token)


def average(c: Candidates, request: Request, noise: Noise) -> ThinkingStep:
    """The tokens of q_K with equal weights. An ablation in arXiv 2505.15778."""
    ids, _ = c.first(request.max_topk)
    return step_of(c, ids, [1 / len(ids)] * len(ids), c.in_order(request.max_topk))


def thinkrouter(c: Candidates, request: Request, noise: Noise) -> ThinkingStep:
    """q_K where the largest of p is at least the threshold, else cot's step. arXiv 2602.11683."""
    step = (soft if c.largest >= request.router_threshold else cot)(c, request, noise)
    if not c.greedy:  # where q is the argmax both give the same
        step.margins["gate"] = abs(c.largest - request.router_threshold)
    return step


def selar(c: Candidates, request: Request, noise: Noise) -> ThinkingStep:
    """h = H(q_K) / log K at or above the threshold: w = (1 + c h) q_K - c h onehot(first of q),
    which may be negative; else cot's step, and so where the drawn token is a mathematical one.
    Output token: the drawn one, or the first of q (top). arXiv 2604.08299, with the mask of
    mathematical tokens and the output token of the authors' `generate_selar`.

    zero: how near the weight of the first is to 0, where its slot is unused."""
    ids, q = c.first(request.max_topk)
    h = normalised_entropy(q, request.max_topk)
    step = cot(c, request, noise)
    if request.selar_alone == "math" and step.token in request.math_ids:
        return step
    if h >= request.selar_threshold:
        push = request.selar_contrast * h
        weights = [(1 + push) * p - push * (i == 0) for i, p in enumerate(q)]
        apart = {"zero": abs(weights[0])} if push else {}
        if push and len(weights) > 1:
            apart["order"] = min(abs(w - weights[0]) for w in weights[1:])
        margins = closest(c.in_order(request.max_topk), apart)
        token = ids[0]
        if request.selar_token == "drawn":
            token, margins = step.token, closest(margins, step.margins)
        step = step_of(c, ids, weights, margins, token=token)
    if not c.greedy:
        step.margins["gate"] = abs(h - request.selar_threshold)
    return step


def soft_noise(
    c: Candidates, request: Request, noise: Noise, rms: float, size: int
) -> ThinkingStep:
    """q_K plus sigma * N(0, 1) in each of `size` components, sigma = noise_scale * `rms` of the
    embedding table. arXiv 2509.19170."""
    step = soft(c, request, noise)
    return with_offset(
        step, torch.tensor(noise.vector(size, request.noise_scale * rms), dtype=torch.float64)
    )


def coconut_tf(c: Candidates, request: Request, hidden: torch.Tensor) -> ThinkingStep:
    """The last hidden state [hidden] in place of a row of the table. An ablation in arXiv
    2505.15778; the original is 2412.06769."""
    argmax = {"argmax": c.in_order(1)["argmax"]}
    return with_offset(step_of(c, [], [], argmax, token=c.ids[0]), hidden)


STATELESS: dict[str, Callable[[Candidates, Request, Noise], ThinkingStep]] = {
    "cot": cot,
    "soft_gumbel": soft_gumbel,
    "soft_dirichlet": soft_dirichlet,
    "moi": moi,
    "multiplex": multiplex,
    "average": average,
    "thinkrouter": thinkrouter,
    "selar": selar,
}
"""The methods that need neither the model nor the steps before."""


def normalised_entropy(q: Sequence[float], most: int) -> float:
    """H(q) / log most, in [0, 1]; 0 if `most` is 1."""
    return -math.fsum(p * math.log(p) for p in q) / math.log(most) if most > 1 else 0.0


def with_offset(step: ThinkingStep, offset: torch.Tensor) -> ThinkingStep:
    return replace(step, offset=offset)
