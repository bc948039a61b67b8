"""One step, from logits: what a thinking step or a plain step must emit.

Written from the definition, in plain PyTorch, one request at a time, on purpose slowly. `V` is the
vocabulary size. Every quantity keeps the dtype of the logits, so the same code runs in float32 and
in float64. Each step also says how close its decisions were (its margins), so that a difference can
be told from a tie.
"""

import math
from dataclasses import dataclass, field, replace
from fractions import Fraction

import torch


@dataclass(frozen=True, kw_only=True)
class ThinkingStep:
    """One concept token: what is fed, sum of weights[k] * E[ids[k]] plus `offset`, and the
    output token. `ids` and `weights` hold the used slots only, largest weight first."""

    token: int
    """The output token. Not always the first slot."""
    ids: list[int]
    weights: list[float]
    entropy: float
    """Nats, over the whole vocabulary, after temperature and before the filter."""
    offset: torch.Tensor | None = field(default=None, compare=False, repr=False)
    """[hidden] added to the mixture, before the model's own scaling of embeddings."""
    concludes: bool = False
    """The method itself wants the thinking to end here."""
    forced: str | None = None
    """None, "eos", "method", "stop_rule", "cold_stop" or "max_thinking_tokens": why think-end was
    put in place of what the logits said."""
    margins: dict[str, float] = field(default_factory=dict)
    """How far each decision was from going the other way: see `margins`."""


def entropy_of(probs: torch.Tensor) -> float:
    """-sum p log p in nats of `probs` [V]; 0 log 0 is 0."""
    return float(-torch.special.xlogy(probs, probs).sum())


def filter_probs(
    probs: torch.Tensor, top_k: int, top_p: float, min_p: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(probabilities, ids), both [n], descending: what top-k, then top-p, then min-p leave of
    `probs` [V], renormalised."""
    probs, ids = torch.sort(
        probs, descending=True, stable=True
    )  # stable: of equal ones the smaller id is first
    if 0 < top_k < len(probs):
        probs, ids = probs[:top_k], ids[:top_k]
        probs = probs / probs.sum()
    before = torch.cumsum(probs, 0) - probs
    keep = before <= top_p
    probs, ids = probs[keep], ids[keep]
    probs = probs / probs.sum()
    keep = probs >= min_p * probs[0]
    probs, ids = probs[keep], ids[keep]
    return probs / probs.sum(), ids


def thinking_step(
    logits: torch.Tensor,
    *,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    max_topk: int,
) -> ThinkingStep:
    """The concept token for `logits` [V] (penalties and bias applied), before Cold Stop and the
    bound are asked."""
    if temperature == 0:
        entropy = entropy_of(torch.softmax(logits, 0))
        token, found = argmax(logits), {"argmax": argmax_margin(logits)}
        return ThinkingStep(token=token, ids=[token], weights=[1.0], entropy=entropy, margins=found)
    probs = torch.softmax(logits / temperature, 0)
    left, ids = filter_probs(probs, top_k, top_p, min_p)
    left, ids = left[:max_topk], ids[:max_topk]
    return ThinkingStep(
        token=int(ids[0]),
        ids=ids.tolist(),
        weights=(left / left.sum()).tolist(),
        entropy=entropy_of(probs),
        margins=margins(
            logits,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            max_topk=max_topk,
        ),
    )


def on_grid(step: ThinkingStep, bits: int) -> ThinkingStep:
    """`step` with weights that are whole multiples of 2^-bits and sum to 1: each is rounded down,
    and what is missing goes, a unit each, to the largest remainders. Tokens without a unit are left
    out. The margin `grid` is how close the last of those remainders was to the next one."""
    scale = 2**bits
    shares = [Fraction(weight) * scale for weight in step.weights]
    units = [math.floor(share) for share in shares]
    ranking = sorted(range(len(shares)), key=lambda i: (units[i] - shares[i], i))
    missing = scale - sum(units)
    remainders = [float(shares[i] - units[i]) for i in ranking] + [0.0]
    for i in ranking[:missing]:
        units[i] += 1
    kept = [(i, u / scale) for i, u in zip(step.ids, units, strict=True) if u]
    found = step.margins
    if 0 < missing < len(shares):
        found = found | {"grid": (remainders[missing - 1] - remainders[missing]) / scale}
    ids, weights = map(list, zip(*kept, strict=True))
    return replace(step, ids=ids, weights=weights, margins=found)


def think_end_step(step: ThinkingStep, token: int, forced: str | None) -> ThinkingStep:
    """`step` as it is fed when it ends the thinking, or is on the way there: `token` of think-end or
    of the closing text, alone; the measured entropy stays."""
    return replace(step, token=token, ids=[token], weights=[1.0], offset=None, forced=forced)


def argmax(logits: torch.Tensor) -> int:
    """Position of the largest of `logits` [V]; of equal ones the smallest."""
    return int((logits == logits.max()).nonzero()[0, 0])


def argmax_margin(logits: torch.Tensor) -> float:
    """Largest minus second largest of `logits` [V]."""
    first, second = torch.topk(logits, 2).values.tolist()
    return first - second


def margins(
    logits: torch.Tensor,
    *,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    max_topk: int,
) -> dict[str, float]:
    """Distance of each decision that shows in the concept token from going the other way.

    argmax, order, min_p: in units of logits (argmax), of log-probability (order, min_p); top_p: in
    probability mass. `order` is the smallest gap between neighbouring ranks that are in the concept
    token, its last one and the first one left out included. A decision that cannot show (a cut
    among ranks beyond `max_topk`) is not counted.
    """
    if 0 < top_k < len(logits):
        limit = top_k
    else:
        limit = len(logits)
    log_probs = torch.sort(
        torch.log_softmax(logits.double() / temperature, 0), descending=True
    ).values
    probs = log_probs[:limit].exp()
    probs = probs / probs.sum()
    shown = slice(1, min(limit, max_topk))
    found = {"argmax": argmax_margin(logits)}
    before = (torch.cumsum(probs, 0) - probs)[shown]
    cut = (before - top_p).abs()
    kept = 1 + int((before <= top_p).sum())
    if len(cut) and top_p < 1:
        found["top_p"] = float(cut.min())
    if min_p > 0 and len(before):
        threshold = log_probs[0] + torch.log(torch.tensor(min_p, dtype=torch.float64))
        above = (log_probs[1:kept] - threshold).abs()
        if len(above):
            found["min_p"] = float(above.min())
        kept = 1 + int((log_probs[1:kept] >= threshold).sum())
    gaps = log_probs[: kept + 1].diff().abs()
    gaps = gaps[~gaps.isnan()]
    if len(gaps):
        found["order"] = float(gaps.min())
    return found
