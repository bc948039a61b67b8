"""What one forward needs to know about its soft rows: `prepare(batch)` makes `StepInputs`.

Shapes: N rows of the batch, A rows that may think, T input tokens, k largest concept of the batch,
H hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from sglang_soft_kernels.layout import Phase

from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.request import LogitsRead, SoftRequest
from sglang_soft.methods import Method
from sglang_soft.stopping import StopRule


class EmbedInputs(NamedTuple):
    """Input embeddings of one forward: a table of concepts, and which row of it each token has."""

    rows: torch.Tensor
    """[T] int64: row of each input token. Row 0 is always a plain token: padding points at it."""
    ids: torch.Tensor
    """[R, k] int32"""
    weights: torch.Tensor
    """[R, k] float32; weights[r, 0] == 0 and no offset: a plain token."""
    offsets: torch.Tensor | None = None
    """[R, H] model dtype: added to the mixture where `has_offset`. None: nothing has one."""
    has_offset: torch.Tensor | None = None
    """[R] bool"""


class Read(NamedTuple):
    """Input tokens of a prefill whose logits go to the host."""

    reading: LogitsRead
    position: int
    """Of the first one, in the request."""
    tokens: slice
    """In the prefill."""


@dataclass
class StepInputs:
    """One forward in which a soft request takes part. Everything is known to the host.

    It travels on SGLang's `SamplingBatchInfo`, which is made anew for every forward and reaches the
    model, the sampler and the logprobs.
    """

    pool: ConceptPool
    embed: EmbedInputs | None = None
    """None: every input is a plain token."""
    requests: list[SoftRequest] = field(default_factory=list)
    """[A] requests that think or may begin to; empty: the sampler has nothing to do."""
    members: list[int] = field(default_factory=list)
    """[A] their rows in the batch."""
    index: torch.Tensor | None = None
    """[A] int64: `members` on the device; None: A == N."""
    rows: torch.Tensor | None = None
    """[A] int64: their rows of the pool."""
    last_positions: torch.Tensor | None = None
    """[N] int64: input tokens whose logits are sampled, in a prefill; None in a decode step."""

    readings: list["Read"] = field(default_factory=list)
    """Logits that a prefill gives to requests that read them."""

    @cached_property
    def k(self) -> int:
        return max(r.k for r in self.requests)

    @cached_property
    def methods(self) -> list[Method]:
        """The methods of its requests, each once."""
        return list({r.method.name: r.method for r in self.requests}.values())

    @cached_property
    def rules(self) -> list[StopRule]:
        """The stopping rules of its requests that have steps of their own, each once."""
        return list({r.rule.name: r.rule for r in self.requests if r.rule}.values())

    @cached_property
    def top_k_bound(self) -> int:
        """Upper bound of the enabled top_k; 0: none is enabled."""
        return max(0, *(r.request.thinking.top_k for r in self.requests))

    @cached_property
    def draws(self) -> int:
        """Tokens that the methods of this batch draw in a row."""
        return max(m.draws(self.k) for m in self.methods)

    @cached_property
    def feeds_offset(self) -> bool:
        return any(m.feeds_offset for m in self.methods)

    @cached_property
    def rolls_out(self) -> bool:
        """A request of the batch asks for what its steps draw."""
        return any(r.params.return_rollout for r in self.requests)

    @cached_property
    def reads_hidden(self) -> bool:
        return any(m.reads_hidden for m in self.methods)

    def realigns(self, method: Method) -> bool:
        """A request of the batch asks for the realignment of `method`."""
        name = method.realigned_by
        return bool(name) and any(getattr(r.params, name, False) for r in self.requests)


def prepare(
    pool: ConceptPool, rows: torch.Tensor, requests: Sequence[SoftRequest | None]
) -> StepInputs:
    """The inputs of a batch of N requests. rows: [N] int64 rows of the pool."""
    members = [i for i, r in enumerate(requests) if r and r.phase != Phase.ANSWER]
    inputs = StepInputs(pool)
    if not members:
        return inputs
    inputs.requests = [r for r in requests if r and r.phase != Phase.ANSWER]
    inputs.members = members
    if len(members) < len(requests):
        inputs.index = pool.upload(torch.tensor(members, dtype=torch.int64))
        rows = rows[inputs.index]
    inputs.rows = rows
    if inputs.feeds_offset:
        pool.with_offsets()
    return inputs


def decode_embed(inputs: StepInputs, rows: torch.Tensor) -> EmbedInputs | None:
    """Inputs of a decode step: every row reads its own row of the pool, [N]."""
    if not inputs.requests:
        return None
    pool, k = inputs.pool, inputs.k
    offsets = (pool.offsets, pool.has_offset) if inputs.feeds_offset else (None, None)
    return EmbedInputs(rows, pool.ids[:, :k], pool.weights[:, :k], *offsets)


def graph_embed(pool: ConceptPool, rows: torch.Tensor) -> EmbedInputs:
    """What a captured decode graph reads: the pool's data tell soft and plain rows apart at
    replay."""
    return EmbedInputs(rows, pool.ids, pool.weights, pool.with_offsets(), pool.has_offset)
