"""SwiReasoning (arXiv 2510.05069): thinking that switches between mixtures and drawn tokens by a
running reference.

H1: entropy of softmax(logits), T = 1. L: its `max_topk` largest, unfiltered, renormalised. t: index
of the step. Step 0 is latent, with reference R = H1. Later, a being the steps since the last
switch: latent and H1 < R becomes explicit, or concludes the thinking if there were
`swi_max_switches` such switches already; explicit and H1 > R and a >= W becomes latent. Every
switch sets R = H1. Latent feeds L, explicit a token drawn from q. At a switch the mixture is
blended, w *= rate: with think-start (to latent, rate from swi_alpha) or think-end (to explicit,
from swi_beta) at weight 1 - rate; rate = x + (1 - x) t / max_new_tokens.
"""

import math
from typing import Literal, NamedTuple

import torch

from .candidates import Candidates, closest, listed, smallest_gap
from .methods import cot
from .noise import Noise
from .request import Request
from .steps import ThinkingStep, entropy_of, margins

Event = Literal["stays", "to_latent", "to_explicit", "concludes"]


class Decision(NamedTuple):
    event: Event
    margin: float
    """|H1 - R|; infinity where H1 did not matter."""


class SwiReasoning:
    """The thinking of one request."""

    def __init__(self, request: Request):
        self.request = request
        self.mode: Literal["latent", "explicit"] = "latent"
        self.reference: float | None = None
        self.age = 0
        self.switches = 0
        self.events: list[Event] = []
        """One for every step so far."""

    def step(self, c: Candidates, position: int, noise: Noise) -> ThinkingStep:
        """The step of index `position`; steps come in order, each once."""
        assert position == len(self.events)
        probs = torch.softmax(c.logits, 0)
        event, margin = self._decide(entropy_of(probs))
        self.events.append(event)
        if self.mode == "latent":
            ids, weights, found = self._latent(c)
        else:
            drawn = cot(c, self.request, noise)
            ids, weights, found = drawn.ids, drawn.weights, drawn.margins
        token = ids[0]
        if event in ("to_latent", "to_explicit"):
            ids, weights = self._blend(ids, weights, event, position)
            found = closest(found, smallest_gap([math.log(w) for w in listed(ids, weights)[1]]))
        if not math.isinf(margin):
            found = found | {"switch": margin}
        ids, weights = listed(ids, weights)
        return ThinkingStep(
            token=token,
            ids=ids,
            weights=weights,
            entropy=c.entropy,
            margins=found,
            concludes=event == "concludes",
        )

    def _decide(self, h1: float) -> Decision:
        if self.reference is None:
            self.reference = h1
            return Decision("stays", math.inf)
        self.age += 1
        margin = abs(h1 - self.reference)
        if self.mode == "latent":
            if not h1 < self.reference:
                return Decision("stays", margin)
            most = self.request.swi_max_switches
            if most is not None and self.switches >= most:
                return Decision("concludes", margin)
            self.mode, self.switches = "explicit", self.switches + 1
            self.reference, self.age = h1, 0
            return Decision("to_explicit", margin)
        if self.age < self.request.swi_window:
            return Decision("stays", math.inf)
        if not h1 > self.reference:
            return Decision("stays", margin)
        self.mode, self.reference, self.age = "latent", h1, 0
        return Decision("to_latent", margin)

    def _latent(self, c: Candidates) -> tuple[list[int], list[float], dict[str, float]]:
        """(ids, weights, margins) of L."""
        most = self.request.max_topk
        ranked, ids = torch.sort(c.logits, descending=True, stable=True)
        weights = torch.softmax(ranked, 0)[:most]
        weights = weights / weights.sum()
        found = margins(c.logits, temperature=1.0, top_k=-1, top_p=1.0, min_p=0.0, max_topk=most)
        return *listed(ids[:most].tolist(), weights.tolist()), found

    def _blend(self, ids: list[int], weights: list[float], event: Event, position: int) -> tuple:
        request = self.request
        if event == "to_latent":
            start, token = request.swi_alpha, request.think_start_id
        else:
            start, token = request.swi_beta, request.think_end_id
        rate = start + (1 - start) * position / request.max_new_tokens
        slots = {i: rate * w for i, w in zip(ids, weights, strict=True)}
        slots[token] = slots.get(token, 0.0) + 1 - rate
        return list(slots), list(slots.values())
