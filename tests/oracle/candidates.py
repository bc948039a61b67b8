"""What a method chooses from: p, q and q_n of one step, with the margins of the decisions that made
them.

Order of tokens: largest logit first, of equal ones the smaller id. q: what top-k, top-p and min-p
leave of p = softmax(logits / temperature), in that order; q_n: its first n, renormalised. In
float64 whatever the dtype of the logits, so that only the logits carry rounding.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from .request import Request
from .steps import argmax, argmax_margin, entropy_of, filter_probs, margins
from .trace import SMALLEST


class Candidates:
    """Of `logits` [V], penalties and bias applied. At temperature 0, q is the argmax alone and H is
    at temperature 1."""

    def __init__(self, logits: torch.Tensor, request: Request):
        self.logits = logits.double()
        self.request = request
        self.greedy = request.temperature == 0
        p = torch.softmax(self.logits / (request.temperature or 1.0), 0)
        self.entropy = entropy_of(p)
        self.largest = float(p.max())
        self.ids, self.probs = [argmax(self.logits)], [1.0]
        if not self.greedy:
            # at top_p 1 the sum of the entries before the last may come out a hair above 1
            top_p = request.top_p if request.top_p < 1 else math.inf
            left, ids = filter_probs(p, request.top_k, top_p, request.min_p)
            self.ids, self.probs = ids[left > 0].tolist(), left[left > 0].tolist()

    def first(self, n: int) -> tuple[list[int], list[float]]:
        """(ids, q_n)."""
        total = math.fsum(self.probs[:n])
        return self.ids[:n], [q / total for q in self.probs[:n]]

    def in_order(self, n: int) -> dict[str, float]:
        """Margins of a step that shows q_n in its order."""
        if self.greedy:
            return {"argmax": argmax_margin(self.logits)}
        return margins(self.logits, max_topk=n, **self._knobs())

    def as_set(self, n: int) -> dict[str, float]:
        """Margins of which tokens are in q_n, whatever their order. cut: log-probability between
        the last one in it and the first one left out."""
        found = self.in_order(n)
        if self.greedy:
            return found
        cut = self._gap(len(self.ids[:n]) - 1)
        return {name: found[name] for name in ("top_p", "min_p") if name in found} | cut_if_any(cut)

    def drawn(self, index: int, margin: float, n: int | None = None) -> dict[str, float]:
        """Margins of a draw from q_n (None: q) that gave entry `index`: of the draw, of the filter,
        and of the ranks next to the entry, whose exchange would give another token."""
        if self.greedy:
            return self.in_order(1)
        found = self.in_order(n or len(self.logits))
        found = {name: found[name] for name in ("top_p", "min_p") if name in found}
        gaps = [self._gap(i) for i in (index - 1, index) if i >= 0]
        return found | {"draw": margin, "order": min(gaps)}

    def _knobs(self) -> dict:
        return {
            name: getattr(self.request, name) for name in ("temperature", "top_k", "top_p", "min_p")
        }

    def _gap(self, rank: int) -> float:
        """Log-probability between the entries of ranks `rank` and `rank` + 1 of the vocabulary."""
        ranked = torch.sort(self.logits, descending=True).values / (self.request.temperature or 1.0)
        return float(ranked[rank] - ranked[rank + 1]) if rank + 1 < len(ranked) else math.inf


def cut_if_any(gap: float) -> dict[str, float]:
    return {} if math.isinf(gap) else {"cut": gap}


def listed(ids: Sequence[int], weights: Sequence[float]) -> tuple[list[int], list[float]]:
    """The used slots (see `Concept`), largest weight first; of equal ones in the order given."""
    used = [(i, w) for i, w in zip(ids, weights, strict=True) if abs(w) >= SMALLEST]
    used.sort(key=lambda slot: -slot[1])
    return [i for i, _ in used], [w for _, w in used]


def smallest_gap(values: Sequence[float]) -> dict[str, float]:
    """{"order": smallest distance between neighbours of `values` when sorted}, or nothing for fewer
    than two."""
    ranked = sorted(values)
    gaps = [b - a for a, b in pairwise(ranked)]
    return {"order": min(gaps)} if gaps else {}


def closest(*found: dict[str, float]) -> dict[str, float]:
    """All margins together, of those with the same name the smallest."""
    return {name: min(m[name] for m in found if name in m) for m in found for name in m}
