"""The methods' arithmetic over a row's slots in plain PyTorch: the specification of `triton`. CPUs
run it too.

Sums run in the order of the slots, so a row's result does not depend on the batch nor on the unused
slots that it adds. Shapes: A rows, k <= 64 slots, n draws, V vocabulary. A column is [A], any
stride.
"""

from typing import NamedTuple

import torch

from .. import layout
from ..dispatch import dispatch

UNUSED = 2**31 - 1


class Composed(NamedTuple):
    """What a row feeds, largest weight first, and the token that it emits."""

    ids: torch.Tensor
    """[A, k] int32, one more with `token`, 64 at most"""
    weights: torch.Tensor
    """float32; used slots come first, unused ones are 0"""
    output_token: torch.Tensor
    """[A] int32: ids[:, 0] of the input, or the drawn token"""


class Gated(NamedTuple):
    """SeLaR's decision of one step."""

    soft: torch.Tensor
    """[A] bool: mix; else feed one drawn token"""
    guarded: torch.Tensor
    """[A] bool: a drawn token of the class is fed alone"""
    share: torch.Tensor
    """[A] float32: of the mixture; 1 - share is the most probable token's"""


class Switched(NamedTuple):
    """SwiReasoning's decision of one step."""

    state: torch.Tensor
    """[A, 5] float32: columns `LATENT` ..."""
    soft: torch.Tensor
    """[A] bool: mix; else feed one drawn token"""
    guarded: torch.Tensor
    """[A] bool: a drawn token of the class is fed alone"""
    force_end: torch.Tensor
    """[A] bool"""
    marker: torch.Tensor
    """[A] int32: the token to blend in"""
    share: torch.Tensor
    """[A] float32: of what is fed; 1 - share is the marker's"""


LATENT, REFERENCE, AGE, SWITCHES, STARTED = range(5)
"""Columns of the state."""
WINDOW, ALPHA, BETA, MAX_SWITCHES, FIRST_SHARE, FIRST_TOKEN, BLEND, ALONE, SHOWN = range(9)
"""Columns of SwiReasoning's parameters. FIRST_TOKEN: infinity if there is none. BLEND: 0 blends
think-end with the mixture, 1 with the drawn token. ALONE: 0 guards. SHOWN: `compose` reads it."""
LATENT_ABOVE, EXPLICIT_BELOW = 9, 10
"""Further columns: entropies in nats; 0 and infinity do not gate."""
THRESHOLD, CONTRAST, SELAR_ALONE = range(3)
"""Columns of SeLaR's parameters."""


def order(ids: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Slots by weight descending, equal ones in the order they came in, unused ones (weight 0)
    last. [A, k] each."""
    key = torch.where(weights == 0, float("-inf"), weights)
    rank = key.argsort(dim=1, descending=True, stable=True)
    return ids.gather(1, rank), weights.gather(1, rank)


@dispatch
def compose(
    ids: torch.Tensor,
    scores: torch.Tensor,
    max_topk: torch.Tensor,
    *,
    softmax: bool = False,
    temperature: torch.Tensor | None = None,
    soft: torch.Tensor | None = None,
    drawn: torch.Tensor | None = None,
    shown: torch.Tensor | None = None,
    alone: torch.Tensor | None = None,
    guarded: torch.Tensor | None = None,
    token: torch.Tensor | None = None,
    share: torch.Tensor | None = None,
    blend_drawn: bool = True,
) -> Composed:
    """Normalise, choose, blend, order.

    1. w = scores / sum(scores) over the row's first max_topk slots; with `softmax`, w =
       softmax(scores / temperature).
    2. Where `soft` does not hold: the `drawn` token alone, with weight 1. So where `guarded` holds
       and `alone` has the drawn token; nothing is blended in there.
    3. With `token`: w = share w + (1 - share) token, in the slot that holds it already or in a new
       one. `blend_drawn`: also where `soft` does not hold.
    4. The largest weight first, equal ones in the order they came in, unused slots last.

    The output token is the drawn one where it is fed alone, or where `shown` is 0; else the first
    of `ids`.

    ids: [A, k] int32. scores: [A, k] float32. soft, guarded: [A] bool. alone: [V] bool, a class of
    tokens. Columns: max_topk, drawn, token int32; temperature, shown, share float32.
    """
    slots = torch.arange(ids.shape[1], device=ids.device)
    used = slots < max_topk[:, None]
    if softmax:
        x = scores if temperature is None else scores / temperature[:, None]
        x = torch.where(used, x, float("-inf"))
        e = torch.exp(x - x.amax(1, keepdim=True))
    else:
        e = torch.where(used, scores, 0.0)
    weights = e / e.cumsum(1)[:, -1:]
    output_token = ids[:, 0]
    if soft is not None:
        assert drawn is not None
        if alone is not None:
            assert guarded is not None
            kept = guarded & alone[drawn.long()]
            soft = soft & ~kept
        weights = torch.where(soft[:, None], weights, (slots == 0).float())
        ids = torch.where(soft[:, None] | (slots > 0), ids, drawn[:, None])
        first = soft if shown is None else soft & (shown != 0)
        output_token = torch.where(first, output_token, drawn)
    if token is not None:
        assert share is not None
        if soft is not None and not blend_drawn:
            share = torch.where(soft, share, 1.0)
        if alone is not None:
            share = torch.where(kept, 1.0, share)
        token, share = token[:, None], share[:, None]
        here = (ids == token) & (weights != 0)
        weights = weights * share
        weights = torch.where(here, weights + (1 - share), weights)
        added = torch.where(here.any(1, keepdim=True), 0.0, 1 - share)
        ids = torch.cat([ids, token.to(ids.dtype)], 1)[:, : layout.MAX_SLOTS]
        weights = torch.cat([weights, added], 1)[:, : layout.MAX_SLOTS]
    return Composed(*order(ids, weights), output_token)


@dispatch
def normalised_entropy(probs: torch.Tensor, max_topk: torch.Tensor) -> torch.Tensor:
    """H(p) / log k in [0, 1]; 0 where k is 1. probs: [A, k] float32, sum 1; max_topk: [A] int32.
    Returns [A] float32."""
    entropy = -torch.special.xlogy(probs, probs).cumsum(1)[:, -1]
    return torch.where(max_topk > 1, entropy / max_topk.clamp(min=2).float().log(), 0.0)


@dispatch
def gate_by_entropy(probs: torch.Tensor, max_topk: torch.Tensor, args: torch.Tensor) -> Gated:
    """SeLaR (arXiv 2604.08299): h = H(p) / log k. A row mixes where h >= `THRESHOLD`, and the share
    of the mixture is 1 + `CONTRAST` h.

    probs, max_topk: as for `normalised_entropy`. args: [A, >= 3] float32.
    """
    h = normalised_entropy.naive(probs, max_topk)
    share = 1 + args[:, CONTRAST] * h
    return Gated(h >= args[:, THRESHOLD], args[:, SELAR_ALONE] == 0, share)


@dispatch
def merge_draws(
    ids: torch.Tensor,
    ranks: torch.Tensor,
    probs: torch.Tensor,
    counts: torch.Tensor,
    by_probability: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each drawn token once: ids [A, n] int32 and weights [A, n] float32, sum 1, largest first,
    equal ones by rank.

    ids, ranks, probs: [A, n], of `Drawn`; n <= 64. counts: [A] int32, 1 .. n: the draws of a row
    that count. by_probability: [A] float32; 1: every draw weighs its token's probability, else all
    weigh the same.
    """
    counted = torch.arange(ids.shape[1], device=ids.device) < counts[:, None]
    ranks, at = torch.where(counted, ranks, UNUSED).sort(1)
    counted = ranks < UNUSED
    same = (ranks[:, :, None] == ranks[:, None, :]) & counted[:, None, :]
    first = counted & ~torch.tril(same, -1).any(2)
    often = same.sum(2).float()
    weights = torch.where(by_probability[:, None] == 1, often * probs.gather(1, at), often)
    weights = torch.where(first, weights, 0.0)
    return order(ids.gather(1, at), weights / weights.cumsum(1)[:, -1:])


@dispatch
def switch_modes(
    entropy: torch.Tensor, state: torch.Tensor, args: torch.Tensor, ints: torch.Tensor
) -> Switched:
    """SwiReasoning (arXiv 2510.05069): latent and explicit blocks in turn.

    H is the entropy, R the one at the last switch (first: at the first step). Latent becomes
    explicit where H < R and H < `EXPLICIT_BELOW`; explicit becomes latent where H > R,
    H > `LATENT_ABOVE` and the block has lasted `WINDOW` steps. (The two absolute gates are LEAD's.)
    The step after the `MAX_SWITCHES`-th switch to explicit ends the thought. A row mixes
    while it is latent, and with `BLEND` 0 at a switch to explicit as well. At a switch to latent
    think-start is blended in, at one to explicit think-end; the share of what is fed grows from
    `ALPHA` (or `BETA`) to 1 over max_new_tokens. At the first step it is `FIRST_SHARE`, and the
    rest is `FIRST_TOKEN`'s.

    entropy: [A] float32, nats. state: [A, 5] float32. args: [A, >= 11] float32. ints: [A, 28]
    int32.
    """
    was_latent, started = state[:, LATENT] == 1, state[:, STARTED] == 1
    reference = torch.where(started, state[:, REFERENCE], entropy)
    age = torch.where(started, state[:, AGE] + 1, 0.0)
    switches = state[:, SWITCHES]
    sure = entropy < args[:, EXPLICIT_BELOW]
    to_explicit = started & was_latent & (reference > entropy) & sure
    waited = (age >= args[:, WINDOW]) & (entropy > args[:, LATENT_ABOVE])
    to_latent = started & ~was_latent & (reference < entropy) & waited
    force_end = started & ~was_latent & (age == 1) & (switches >= args[:, MAX_SWITCHES])
    switched = to_explicit | to_latent
    latent = (was_latent & ~to_explicit) | to_latent
    after = torch.stack(
        [
            latent.float(),
            torch.where(switched, entropy, reference),
            torch.where(switched, 0.0, age),
            switches + to_explicit.float(),
            torch.ones_like(entropy),
        ],
        1,
    )
    start = torch.where(to_latent, args[:, ALPHA], args[:, BETA])
    progress = ints[:, layout.THINK_STEP] / ints[:, layout.MAX_NEW_TOKENS]
    share = (start + (1 - start) * progress).clamp(max=1.0)
    share = torch.where(switched, share, 1.0)
    marker = torch.where(to_latent, ints[:, layout.THINK_START], ints[:, layout.THINK_END])
    first = ~started & (args[:, FIRST_TOKEN] < float("inf"))
    share = torch.where(first, args[:, FIRST_SHARE], share)
    marker = torch.where(first, torch.where(first, args[:, FIRST_TOKEN], 0.0).int(), marker)
    soft = latent | (to_explicit & (args[:, BLEND] == 0))
    return Switched(after, soft, latent & (args[:, ALONE] == 0), force_end, marker, share)
