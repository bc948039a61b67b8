"""The interface of a thinking method: from the logits of one step to what is fed next.

Shapes: B rows of the batch, V vocabulary, W candidates, K slots of this batch, H hidden size. A
method computes for all B rows; rows that think by another method are thrown away behind it. It may
not read anything on the host, and what it computes for a row may depend on nothing but that row.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from sglang_soft_kernels import layout

from sglang_soft.fields import Field
from sglang_soft.methods.noise import Noise


class Proposal(NamedTuple):
    """What B rows feed next."""

    ids: torch.Tensor
    """[B, k] int, k <= K"""
    weights: torch.Tensor
    """[B, k] float32, sum 1 (or all 0 beside a vector); used slots (weight != 0) come first: see
    `order`."""
    token: torch.Tensor
    """[B] int: the readable token, which goes into the output; think-end ends the thinking."""
    state: torch.Tensor | None = None
    """[B, S] float32: the method's state behind this step."""
    vector: torch.Tensor | None = None
    """[B, H]: added to the mixture."""
    conclude: torch.Tensor | None = None
    """[B] bool: force think-end here."""


class View:
    """What a method sees of one step."""

    def __init__(
        self,
        *,
        logits: torch.Tensor,
        ids: torch.Tensor,
        probs: torch.Tensor,
        entropy: torch.Tensor,
        ints: torch.Tensor,
        floats: torch.Tensor,
        args: torch.Tensor | None,
        state: torch.Tensor | None,
        noise: Noise | None,
        width: int,
        hidden: torch.Tensor | None,
        hidden_size: int,
        embedding_rms: float,
        fields: Sequence[Field] = (),
    ) -> None:
        """ints: [B, C] int32, floats: [B, 4], as in sglang_soft_kernels/layout.py. args: [B, A],
        the first of which are those of `fields`. Columns are views, made where a method asks for
        them."""
        self.logits = logits
        """[B, V], after penalties, bias and masks."""
        self.ids = ids
        """[B, W] int32: the candidates, most probable first."""
        self.probs = probs
        """[B, W] float32: Filter(p) over the candidates, sum 1; 0: unused."""
        self.entropy = entropy
        """[B] nats, of p over the whole vocabulary."""
        self.width = width
        """K: slots of this batch."""
        self.hidden = hidden
        """[B, H]: last hidden state, behind the final norm; there if the method `reads_hidden`."""
        self.hidden_size = hidden_size
        self.embedding_rms = embedding_rms
        """Root mean square of the embedding table's elements."""
        self._ints, self._floats, self._args, self._fields = ints, floats, args, fields
        self._state, self._noise = state, noise

    @property
    def temperature(self) -> torch.Tensor:
        """[B]; 1 where the request is greedy: its first candidate has probability 1."""
        return self._floats[:, layout.TEMPERATURE]

    @property
    def max_topk(self) -> torch.Tensor:
        """[B] int32: the request's own K."""
        return self._ints[:, layout.MAX_TOPK]

    @property
    def position(self) -> torch.Tensor:
        """[B] int32: index of this thinking step."""
        return self._ints[:, layout.THOUGHT]

    @property
    def think_start(self) -> torch.Tensor:
        """[B] int32 id"""
        return self._ints[:, layout.THINK_START]

    @property
    def think_end(self) -> torch.Tensor:
        """[B] int32 id"""
        return self._ints[:, layout.THINK_END]

    @property
    def horizon(self) -> torch.Tensor:
        """[B] int32: the request's max_new_tokens."""
        return self._ints[:, layout.HORIZON]

    @property
    def state(self) -> torch.Tensor:
        """[B, S] float32; there if the method has a `state`."""
        assert self._state is not None, (
            "a method that reads its state must say what it is at the start"
        )
        return self._state

    @property
    def noise(self) -> Noise:
        """Of this step; there if the method is `random`."""
        assert self._noise is not None, "a method that draws noise must say that it is `random`"
        return self._noise

    def arg(self, name: str) -> torch.Tensor:
        """[B] float32: a parameter of the method."""
        assert self._args is not None
        return self._args[:, [f.name for f in self._fields].index(name)]

    def top(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The request's K most probable candidates, renormalised: ids and weights, [B, k], k <=
        K."""
        k = min(self.width, self.ids.shape[1])
        ranks = torch.arange(k, device=self.ids.device)
        weights = torch.where(ranks < self.max_topk[:, None], self.probs[:, :k], 0.0)
        return self.ids[:, :k], weights / weights.cumsum(1)[:, -1:]

    def drawn(self, count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """`count` tokens drawn from Filter(p): ids and ranks, [B, count]. Needs `Method.draws`."""
        ranks = self.noise.draw(self.probs, count)
        return self.ids.gather(1, ranks), ranks

    def discrete(self) -> Proposal:
        """One drawn token: the step of discrete chain of thought."""
        ids, _ = self.drawn()
        return Proposal(ids, torch.ones_like(ids, dtype=torch.float32), ids[:, 0])


def order(ids: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Slots by weight descending, equal ones in the order they came in, unused ones (weight 0)
    last. [B, k] each."""
    rank = torch.where(weights == 0, float("-inf"), weights).argsort(
        dim=1, descending=True, stable=True
    )
    return ids.gather(1, rank), weights.gather(1, rank)


def softmax(x: torch.Tensor) -> torch.Tensor:
    """Over slots, [B, k]. The sum runs in the order of the slots, so that unused ones behind cannot
    change its bits."""
    e = torch.exp(x - x.amax(1, keepdim=True))
    return e / e.cumsum(1)[:, -1:]


def entropy_of(probs: torch.Tensor) -> torch.Tensor:
    """-sum p log p over slots, in nats; 0 log 0 is 0. [B, k] -> [B]. Summed in a fixed order."""
    return -torch.special.xlogy(probs, probs).cumsum(1)[:, -1]


class Method:
    """One way to think. The class docstring's first line says what it feeds; instances hold no
    request's data."""

    name: ClassVar[str]
    source: ClassVar[str]
    fields: ClassVar[tuple[Field, ...]] = ()
    """Parameters of its own; their names must be unlike any other method's."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """Defaults of common parameters, where they differ from those of every method."""
    state: ClassVar[tuple[float, ...]] = ()
    """A row's state before its first thinking step."""
    draws: ClassVar[bool] = False
    """Candidates are all of Filter(p), not the K most probable alone."""
    random: ClassVar[bool] = False
    """Its trace depends on the request's seed."""
    extra_slots: ClassVar[int] = 0
    """Slots that it needs beyond max_topk."""
    needs_think_start: ClassVar[bool] = False
    feeds_vector: ClassVar[bool] = False
    """Proposals carry vectors. They are kept in host memory, H elements of the model's dtype a
    thinking token."""
    reads_hidden: ClassVar[bool] = False

    def args(self, values: Mapping[str, Any]) -> tuple[float, ...]:
        """Its parameters as the numbers that `View.arg` returns, in the order of `fields`; unset:
        infinity."""
        return tuple(
            float("inf") if values[f.name] is None else float(values[f.name]) for f in self.fields
        )

    def step(self, view: View) -> Proposal:
        raise NotImplementedError

    @classmethod
    def describe(cls) -> str:
        return (cls.__doc__ or "").strip().splitlines()[0] if cls.__doc__ else ""
