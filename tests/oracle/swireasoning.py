"""SwiReasoning (arXiv 2510.05069), after the authors' `generate_swir` (sdc17/SwiReasoning): thinking
that switches between mixtures and drawn tokens by a running reference.

H1: entropy of softmax(logits), T = 1. L: its `max_topk` largest, unfiltered, renormalised (the
authors mix all). t: index of the step. y: a token drawn from q, the output token of every step
(`swi_token` top: L's first where a mixture is fed).

Step 0 is latent, with reference R = H1. Later, a being the steps since the last switch: latent and
H1 < R becomes explicit; explicit and H1 > R and a >= W becomes latent. LEAD asks more of both: H1
below `swi_explicit_below`, and above `swi_latent_above`. Every switch sets R = H1.
Latent feeds L, explicit y. At a switch the mixture is blended, w *= rate: with think-start (to
latent, rate from swi_alpha) or think-end (to explicit, from swi_beta) at weight 1 - rate; rate =
x + (1 - x) t / max_new_tokens. `swi_blend` drawn: y is blended with think-end in place of L. Step 0
is blended with `swi_first_token`, at rate swi_first_share. A latent step whose y is a mathematical
token feeds y alone.

Conclusion: from the `swi_max_switches`-th switch to explicit on, think-end is queued, and comes at
the next step. (The authors' rows may go on thinking after it, and are cut for good after twice as
many switches. Here think-end ends the thinking.)
"""

import math
from typing import Literal, NamedTuple

import torch

from .candidates import Candidates, closest, listed, smallest_gap
from .methods import cot
from .noise import Noise
from .request import Request
from .steps import ThinkingStep, entropy_of, margins

Event = Literal["stays", "to_latent", "to_explicit"]


class Decision(NamedTuple):
    event: Event
    margin: float
    """|H1 - R|, or the distance from an absolute gate; infinity where H1 did not matter."""


class Slots(NamedTuple):
    ids: list[int]
    weights: list[float]
    margins: dict[str, float]


class SwiReasoning:
    """The thinking of one request."""

    def __init__(self, request: Request):
        self.request = request
        self.mode: Literal["latent", "explicit"] = "latent"
        self.reference: float | None = None
        self.age = 0
        self.switches = 0
        self.queue: list[int] = []
        """Tokens that the coming steps emit whatever was drawn."""
        self.events: list[Event] = []
        """One for every step so far."""

    def step(self, c: Candidates, position: int, noise: Noise) -> ThinkingStep:
        """The step of index `position`; steps come in order, each once."""
        assert position == len(self.events)
        request = self.request
        concludes = bool(self.queue)
        self.queue = self.queue[1:]
        event, margin = self._decide(entropy_of(torch.softmax(c.logits, 0)))
        self.events.append(event)
        if event == "to_explicit" and self.switches >= (request.swi_max_switches or math.inf):
            self.queue = [request.think_end_id]
        drawn = cot(c, request, noise)
        latent = self.mode == "latent"
        alone = latent and request.swi_alone == "math" and drawn.token in request.math_ids
        mixes = latent or (event == "to_explicit" and request.swi_blend == "mixture")
        if alone or not mixes:
            fed = Slots(drawn.ids, drawn.weights, drawn.margins)
            token = drawn.token
        else:
            fed = self._latent(c)
            token = fed.ids[0]
            if request.swi_token == "drawn":
                token = drawn.token
                fed = fed._replace(margins=closest(fed.margins, drawn.margins))
        if not alone:
            fed = self._blended(fed, event, position)
        found = fed.margins if math.isinf(margin) else fed.margins | {"switch": margin}
        ids, weights = listed(fed.ids, fed.weights)
        return ThinkingStep(
            token=token,
            ids=ids,
            weights=weights,
            entropy=c.entropy,
            margins=found,
            concludes=concludes,
        )

    def _decide(self, h1: float) -> Decision:
        if self.reference is None:
            self.reference = h1
            return Decision("stays", math.inf)
        self.age += 1
        margin = abs(h1 - self.reference)
        if self.mode == "latent":
            below = self.request.swi_explicit_below
            if below is not None:
                margin = min(margin, abs(h1 - below))
            if not h1 < self.reference or (below is not None and not h1 < below):
                return Decision("stays", margin)
            self.mode, self.switches = "explicit", self.switches + 1
            self.reference, self.age = h1, 0
            return Decision("to_explicit", margin)
        if self.age < self.request.swi_window:
            return Decision("stays", math.inf)
        above = self.request.swi_latent_above
        margin = min(margin, abs(h1 - above)) if above else margin
        if not (h1 > self.reference and h1 > above):
            return Decision("stays", margin)
        self.mode, self.reference, self.age = "latent", h1, 0
        return Decision("to_latent", margin)

    def _latent(self, c: Candidates) -> Slots:
        """L."""
        most = self.request.max_topk
        ranked, ids = torch.sort(c.logits, descending=True, stable=True)
        weights = torch.softmax(ranked, 0)[:most]
        weights = weights / weights.sum()
        found = margins(c.logits, temperature=1.0, top_k=-1, top_p=1.0, min_p=0.0, max_topk=most)
        return Slots(*listed(ids[:most].tolist(), weights.tolist()), found)

    def _blended(self, fed: Slots, event: Event, position: int) -> Slots:
        request = self.request
        if position == 0 and request.swi_first_token is not None:
            rate, token = request.swi_first_share, request.swi_first_token
        elif event == "to_latent":
            rate, token = self._grown(request.swi_alpha, position), request.think_start_id
        elif event == "to_explicit":
            rate, token = self._grown(request.swi_beta, position), request.think_end_id
        else:
            return fed
        slots = {i: rate * w for i, w in zip(fed.ids, fed.weights, strict=True)}
        slots[token] = slots.get(token, 0.0) + 1 - rate
        used = listed(list(slots), list(slots.values()))
        gap = smallest_gap([math.log(w) for w in used[1]])
        return Slots(*used, closest(fed.margins, gap))

    def _grown(self, start: float, position: int) -> float:
        return start + (1 - start) * position / self.request.max_new_tokens
