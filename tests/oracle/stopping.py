"""Stopping rules, from their formulas: what each reads of a thought, and whether it wants an end.

z: logits of the step, penalties and bias applied, at temperature 1. t: index of the step in the
thought, n = t + 1. e: the first token of think-end, or the next one where the thought's output ends
with a part of it. A boundary: t > 0, and the token emitted at step t - 1 is one of `boundary_ids`.

In float64, of plain lists. Each decision comes with its distance from going the other way.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import torch

NEEDS: dict[str, tuple[str, ...]] = {
    "cold_stop": ("entropy", "steps"),
    "budget": ("tokens",),
    "rcpd": ("at", "rank", "low_rank", "low_count", "mid_rank", "mid_count"),
    "thinkbrake": ("at", "margin"),
    "think_end_boost": ("boost",),
    "leash": (
        "window", "votes", "entropy_slope", "margin_gain", "min_tokens", "warm_up", "entropy_drop",
        "saturation", "max_tokens",
    ),
}  # fmt: skip
"""The rules, and the parameters that each needs."""

HISTORY = (10, 50, 100, 1000)
"""RCPD: largest ranks at this boundary, the one before it, and so on."""


class Stop(NamedTuple):
    stops: bool
    margins: dict[str, float]


GOES_ON = Stop(False, {})


class Stopping:
    """The rule of one request. cold_stop and budget are where the thought ends: `ending.py`.

    rule: None, or {"rule": name, parameters}; end: tokens of think-end."""

    def __init__(
        self,
        rule: Mapping[str, Any] | None,
        end: Sequence[int],
        boundary_ids: frozenset[int] = frozenset(),
    ):
        self.rule = rule or {"rule": None}
        self.end, self.boundary_ids = list(end), boundary_ids
        self.ranks: list[int] = []
        """RCPD: at every boundary so far."""
        self.entropies: list[float] = []
        """LEASH, this and the next two: at every step so far."""
        self.leads: list[float] = []
        self.votes: list[bool] = []

    def adjusted(self, logits: torch.Tensor, thought: Sequence[int]) -> torch.Tensor:
        """think_end_boost: z_e + boost * (max z - mean z), both over the finite logits. [V]"""
        if self.rule["rule"] != "think_end_boost":
            return logits
        values = [z for z in logits.double().tolist() if math.isfinite(z)]
        boost = self.rule["boost"] * (max(values) - math.fsum(values) / len(values))
        boosted = logits.clone()
        boosted[self._next_of_end(thought)] += boost
        return boosted

    def step(self, logits: torch.Tensor, thought: Sequence[int]) -> Stop:
        """`thought`: the tokens that it emitted before this step."""
        z = logits.double().tolist()
        if self.rule["rule"] == "leash":
            return self._leash(z)
        boundary = bool(thought) and thought[-1] in self.boundary_ids
        if self.rule["rule"] == "rcpd" and boundary:
            return self._rcpd(z, self._next_of_end(thought))
        if self.rule["rule"] == "thinkbrake" and boundary:
            apart = max(z) - z[self._next_of_end(thought)]
            most = self.rule["margin"]
            return Stop(apart <= most, {"margin": abs(apart - most)})
        return GOES_ON

    def _next_of_end(self, thought: Sequence[int]) -> int:
        """e."""
        there = [n for n in range(len(self.end)) if self.end[:n] == list(thought)[-n:] or n == 0]
        return self.end[max(there)]

    def _rcpd(self, z: Sequence[float], e: int) -> Stop:
        """arXiv 2508.17627. rank: the smallest distance of z_e from the logit that would bring its
        rank over one of the thresholds."""
        rule = self.rule
        self.ranks.append(1 + sum(value > z[e] for value in z))
        stops = self.ranks[-1] <= rule["rank"]
        last = self.ranks[: -len(HISTORY) - 1 : -1]
        if len(last) == len(HISTORY):
            stops |= all(rank <= most for rank, most in zip(last, HISTORY, strict=True))
        for most, count in ((rule["low_rank"], rule["low_count"]),
                            (rule["mid_rank"], rule["mid_count"])):  # fmt: skip
            run = self.ranks[-count:]
            stops |= len(run) == count and all(rank <= most for rank in run)
        others = sorted((value for i, value in enumerate(z) if i != e), reverse=True)
        thresholds = {rule["rank"], rule["low_rank"], rule["mid_rank"], *HISTORY}
        gaps = [abs(others[most - 1] - z[e]) for most in thresholds if 1 <= most <= len(others)]
        gaps = [gap for gap in gaps if math.isfinite(gap)]
        return Stop(stops, {"rank": min(gaps)} if gaps else {})

    def _leash(self, z: Sequence[float]) -> Stop:
        """arXiv 2511.04654. entropy_slope, margin_gain, saturation, entropy_drop: how near the step
        came to each of them."""
        rule, found = self.rule, {}
        top = max(z)
        total = top + math.log(math.fsum(math.exp(value - top) for value in z))
        log_p = sorted((value - total for value in z), reverse=True)
        self.entropies.append(-math.fsum(math.exp(x) * x for x in log_p if x > -math.inf))
        self.leads.append(log_p[0] - log_p[1])
        h, lead, n, window = self.entropies, self.leads, len(self.entropies), rule["window"]
        if n > window:
            found["saturation"] = abs(math.exp(log_p[0]) - rule["saturation"])
            if math.exp(log_p[0]) < rule["saturation"]:
                slope, gain = (h[-1] - h[-1 - window]) / window, lead[-1] - lead[-1 - window]
                self.votes.append(slope >= -rule["entropy_slope"] and gain <= rule["margin_gain"])
                found["entropy_slope"] = abs(slope + rule["entropy_slope"])
                found["margin_gain"] = abs(gain - rule["margin_gain"])
        stops = n >= rule["max_tokens"]
        if n >= max(rule["min_tokens"] + rule["warm_up"], window + rule["votes"]):
            drop, last = median(h[:window]) - h[-1], self.votes[-rule["votes"] :]
            found["entropy_drop"] = abs(drop - rule["entropy_drop"])
            stops |= drop >= rule["entropy_drop"] and bool(last) and 2 * sum(last) >= len(last)
        return Stop(stops, found)
