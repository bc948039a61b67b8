"""From a method's proposal to the step's record, and from there to the rows' next state, in plain
PyTorch: the specification of `state_triton` and `cpu`.

Source: arXiv 2505.15778, section 3.3 (Cold Stop). Shapes: B rows of the batch, R rows of the
concept pool, K slots, S columns of method state, V vocabulary, C columns of integers (layout.py).
"""

from typing import NamedTuple

import torch

from . import layout
from .layout import Phase, Step

# Tensors without dimensions, once: a Python number beside a tensor is made into one, and cast, at
# every call.
_ZERO = torch.zeros((), dtype=torch.float32, device="cpu")
_FORBIDDEN = torch.full((), float("-inf"), dtype=torch.float32, device="cpu")
_STEP = torch.arange(len(Step), dtype=torch.int32, device="cpu").unbind()
_PHASE = torch.arange(len(Phase), dtype=torch.int32, device="cpu").unbind()


class StepRecord(NamedTuple):
    """Outcome of one step as a single tensor, so that one copy takes it to the host. Its parts are
    views."""

    packed: torch.Tensor
    """[B, 2K + 4 + S] int32: ids, weights, entropy, kind, low, token, method state; floats by their
    bits."""
    K: int

    @property
    def ids(self) -> torch.Tensor:
        """[B, K] int32: what the row is fed next, where `kind` is CONCEPT."""
        return self.packed[:, : self.K]

    @property
    def weights(self) -> torch.Tensor:
        """[B, K] float32"""
        return self.packed[:, self.K : 2 * self.K].view(torch.float32)

    @property
    def entropy(self) -> torch.Tensor:
        """[B] float32, nats"""
        return self.packed[:, 2 * self.K].view(torch.float32)

    @property
    def kind(self) -> torch.Tensor:
        """[B] int32: `Step`; PLAIN where the row does not think."""
        return self.packed[:, 2 * self.K + 1]

    @property
    def low(self) -> torch.Tensor:
        """[B] int32: Cold Stop's count behind this step."""
        return self.packed[:, 2 * self.K + 2]

    @property
    def token(self) -> torch.Tensor:
        """[B] int32: the token that a thinking row emits (readable token, or think-end)."""
        return self.packed[:, 2 * self.K + 3]

    @property
    def state(self) -> torch.Tensor:
        """[B, S] float32: state of the rows' methods behind this step."""
        return self.packed[:, 2 * self.K + 4 :].view(torch.float32)


def decide(
    ids: torch.Tensor,
    weights: torch.Tensor,
    token: torch.Tensor,
    entropy: torch.Tensor,
    logits: torch.Tensor,
    ints: torch.Tensor,
    floats: torch.Tensor,
    *,
    conclude: torch.Tensor | None = None,
    state: torch.Tensor | None = None,
) -> StepRecord:
    """What the rows emit and are fed: natural and forced think-end, Cold Stop, bound.

    The proposal: ids [B, K] int32, weights [B, K] float32, token [B] int32, entropy [B] float32,
    conclude [B] bool (force think-end), state [B, S] float32. logits: [B, V], from which only
    think-end's is read. ints: [B, C] int32, floats: [B, 4] float32, the rows' parameters and state
    before this step.
    """

    def column(c: int) -> torch.Tensor:
        return ints[:, c : c + 1]

    token, entropy, think_end = token.unsqueeze(1), entropy.unsqueeze(1), column(layout.THINK_END)
    low = (column(layout.LOW) + _STEP[1]) * (entropy < floats[:, layout.COLD_ENTROPY :])
    # A grammar or a bias may forbid think-end here; it is then forced at the first step that allows
    # it.
    allowed = logits.gather(1, think_end.long()) > _FORBIDDEN

    # The later line wins.
    kind = torch.where(
        column(layout.THOUGHT) >= column(layout.BOUND), _STEP[Step.BOUND], _STEP[Step.CONCEPT]
    )
    kind = torch.where(low >= column(layout.COLD_STEPS), _STEP[Step.COLD_STOP], kind)
    if conclude is not None:
        kind = torch.where(conclude.unsqueeze(1), _STEP[Step.METHOD], kind)
    kind = torch.where(allowed, kind, _STEP[Step.CONCEPT])
    kind = torch.where(token == think_end, _STEP[Step.THINK_END], kind)
    token = torch.where(kind == _STEP[Step.CONCEPT], token, think_end)
    thinking = column(layout.PHASE) == _PHASE[Phase.THINK]
    kind = torch.where(thinking, kind, _STEP[Step.PLAIN])

    parts = [ids, weights.view(torch.int32), entropy.view(torch.int32), kind, low, token]
    if state is not None:
        parts.append(state.view(torch.int32))
    return StepRecord(torch.cat(parts, 1), ids.shape[1])


def merge(record: StepRecord, tokens: torch.Tensor) -> None:
    """Put the tokens of thinking rows into the sampled ids, [B] int32 or int64, in place."""
    tokens.copy_(torch.where(record.kind != _STEP[Step.PLAIN], record.token, tokens))


def advance(
    record: StepRecord,
    tokens: torch.Tensor,
    ints: torch.Tensor,
    rows: torch.Tensor,
    pool_ids: torch.Tensor,
    pool_weights: torch.Tensor,
    pool_ints: torch.Tensor,
    pool_state: torch.Tensor,
) -> None:
    """Write what the rows feed next and their new state.

    tokens: [B] int, what was really emitted. ints: [B, C] int32, as for `decide`. rows: [B] int64,
    all different. The pool, of which these rows are written: ids [R, >= K] int32, weights [R, >= K]
    float32 (slots beyond K are left alone), ints [R, C] int32, state [R, >= S] float32.
    """
    kind, K = record.kind, record.K
    concept, thinking = kind == _STEP[Step.CONCEPT], kind != _STEP[Step.PLAIN]
    pool_ids[:, :K].index_copy_(0, rows, record.ids)
    # Think-end and every token outside thinking are fed as plain tokens: their rows carry no
    # weight.
    weights = torch.where(concept.unsqueeze(1), record.weights, _ZERO)
    pool_weights[:, :K].index_copy_(0, rows, weights)
    state = record.state
    if state.shape[1]:
        own = pool_state[:, : state.shape[1]]
        own.index_copy_(0, rows, torch.where(thinking.unsqueeze(1), state, own[rows]))

    phase, low, thought = ints[:, layout.PHASE :].unbind(1)
    starts = (phase == _PHASE[Phase.WAIT]) & (tokens == ints[:, layout.THINK_START])
    phase = torch.where(kind > _STEP[Step.CONCEPT], _PHASE[Phase.ANSWER], phase)
    phase = torch.where(starts, _PHASE[Phase.THINK], phase)
    changed = torch.stack([phase, torch.where(thinking, record.low, low), thought + concept], 1)
    pool_ints[:, layout.PHASE :].index_copy_(0, rows, changed)
