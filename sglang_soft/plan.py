"""What one forward needs to know about its soft rows."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from sglang_soft.methods import Method
from sglang_soft.pool import ConceptPool
from sglang_soft.request import Phase, SoftRequest


class EmbedPlan(NamedTuple):
    """Input embeddings of one forward; T input tokens, R rows of the table, K slots, H hidden
    size."""

    rows: torch.Tensor
    """[T] int64: row of each input token. Row 0 is always a plain token, so padding may point at
    it."""
    ids: torch.Tensor
    """[R, K] int32"""
    weights: torch.Tensor
    """[R, K] float32; weights[r, 0] == 0 and no vector: a plain token."""
    vectors: torch.Tensor | None = None
    """[R, H] model dtype: added to the mixture where `has_vector`. None: nothing has one."""
    has_vector: torch.Tensor | None = None
    """[R] bool"""


class ForwardPlan(NamedTuple):
    """Sampling of one forward in which a soft request may think; B requests. All of it is known to
    the host."""

    pool: ConceptPool
    rows: torch.Tensor
    """[B] int64"""
    requests: list[SoftRequest | None]
    """[B]; None: hard, or known to be in its answer, where it is decoded as a hard one."""
    width: int
    """K: slots of this batch, enough for each of its requests."""
    methods: tuple[Method, ...]
    """The methods of its requests, each once."""
    max_top_k: int | None
    """Upper bound of the enabled thinking-phase top_k; 0: none is enabled; None: whole rows are
    sorted."""
    candidates: int | None
    """W: candidates that the methods of this batch need; None: the whole vocabulary."""

    @property
    def feeds_vector(self) -> bool:
        return any(m.feeds_vector for m in self.methods)

    @property
    def reads_hidden(self) -> bool:
        return any(m.reads_hidden for m in self.methods)

    @property
    def state_size(self) -> int:
        return max((len(m.state) for m in self.methods), default=0)


def plan_forward(
    pool: ConceptPool, rows: torch.Tensor, requests: Sequence[SoftRequest | None]
) -> ForwardPlan | None:
    """The plan of a batch; None: nothing in it thinks or may begin to."""
    requests = [r if r and r.phase != Phase.ANSWER else None for r in requests]
    active = [r for r in requests if r]
    if not active:
        return None
    top_ks = [r.params.thinking.top_k for r in active]
    width = max(r.slots for r in active)
    drawing = [r.params.thinking.top_k for r in active if r.method.draws]
    everything = any(k == -1 for k in drawing)
    return ForwardPlan(
        pool=pool,
        rows=rows,
        requests=requests,
        width=width,
        methods=tuple({r.params.method: r.method for r in active}.values()),
        max_top_k=None if everything else max([0, *top_ks]),
        candidates=None if everything else max([width, *drawing]),
    )
