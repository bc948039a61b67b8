"""From what a method feeds to the step's record, and from there to the rows' next state, in plain
PyTorch: the specification of `triton` and `cpu`.

Source: arXiv 2505.15778, section 3.3 (Cold Stop). Shapes: N rows of the batch, A of them that may
think, R rows of the concept pool, k slots, S columns of method state, V vocabulary. Columns:
layout.py.
"""

from typing import NamedTuple

import torch

from .. import layout
from ..dispatch import dispatch
from ..layout import Phase, StepKind

# Tensors without dimensions, once: a Python number next to a tensor is made into one, and cast, at
# every call.
_ZERO = torch.zeros((), dtype=torch.float32, device="cpu")
_FORBIDDEN = torch.full((), float("-inf"), dtype=torch.float32, device="cpu")
_KIND = torch.arange(len(StepKind), dtype=torch.int32, device="cpu").unbind()
_PHASE = torch.arange(len(Phase), dtype=torch.int32, device="cpu").unbind()


class StepRecord(NamedTuple):
    """Outcome of one step as a single tensor, so that one copy takes it to the host. Its parts are
    views."""

    packed: torch.Tensor
    """[A, 4 + 2k + S] int32"""
    k: int

    @property
    def kind(self) -> torch.Tensor:
        """[A] int32: `StepKind`; PLAIN where the row does not think."""
        return self.packed[:, layout.KIND]

    @property
    def token(self) -> torch.Tensor:
        """[A] int32: the token that a thinking row emits (the method's, or think-end)."""
        return self.packed[:, layout.TOKEN]

    @property
    def low_entropy(self) -> torch.Tensor:
        """[A] int32: Cold Stop's count after this step."""
        return self.packed[:, layout.LOW_ENTROPY]

    @property
    def entropy(self) -> torch.Tensor:
        """[A] float32, nats"""
        return self.packed[:, layout.ENTROPY].view(torch.float32)

    @property
    def ids(self) -> torch.Tensor:
        """[A, k] int32: what the row is fed next, where `kind` is CONCEPT."""
        return self.packed[:, layout.ids_of(self.k)]

    @property
    def weights(self) -> torch.Tensor:
        """[A, k] float32"""
        return self.packed[:, layout.weights_of(self.k)].view(torch.float32)

    @property
    def state(self) -> torch.Tensor:
        """[A, S] float32: state of the rows' methods after this step."""
        return self.packed[:, layout.state_of(self.k)].view(torch.float32)


@dispatch
def finish_step(
    ids: torch.Tensor,
    weights: torch.Tensor,
    token: torch.Tensor,
    entropy: torch.Tensor,
    logits: torch.Tensor,
    ints: torch.Tensor,
    floats: torch.Tensor,
    *,
    force_end: torch.Tensor | None = None,
    state: torch.Tensor | None = None,
    index: torch.Tensor | None = None,
    k: int | None = None,
    states: int | None = None,
    into: StepRecord | None = None,
    method: int = -1,
) -> StepRecord:
    """What the rows emit and are fed: think-end by itself or forced, Cold Stop, bound.

    From the method: ids [A, <= k] int32, weights [A, <= k] float32, token [A] int32, force_end [A]
    bool (force think-end), state [A, <= S] float32. entropy: [A] float32. logits: [N, V], from
    which only think-end's is read. ints: [A, 20] int32, floats: [A, 4] float32, the rows'
    parameters and state before this step. index: [A] int64 rows of the batch; None: A = N.

    k, states: slots and state columns (S) of the record, by default those of the method; more of
    them are cut, missing ones are 0. into: write the rows of `method` into this record, which has
    every row, and leave the others as they are.
    """

    def column(c: int) -> torch.Tensor:
        return ints[:, c : c + 1]

    if index is not None:
        logits = logits[index]
    token, entropy, think_end = token.unsqueeze(1), entropy.unsqueeze(1), column(layout.THINK_END)
    confident = entropy < floats[:, layout.COLD_STOP_ENTROPY :]
    low = (column(layout.LOW_ENTROPY_STEPS) + _KIND[1]) * confident
    # A grammar or a bias may forbid think-end here; it is then forced at the first step that allows
    # it.
    allowed = logits.gather(1, think_end.long()) > _FORBIDDEN

    # The later line wins.
    bound = column(layout.THINK_STEP) >= column(layout.MAX_THINKING_TOKENS)
    kind = torch.where(bound, _KIND[StepKind.MAX_THINKING_TOKENS], _KIND[StepKind.CONCEPT])
    kind = torch.where(low >= column(layout.COLD_STOP_STEPS), _KIND[StepKind.COLD_STOP], kind)
    if force_end is not None:
        kind = torch.where(force_end.unsqueeze(1), _KIND[StepKind.METHOD], kind)
    is_eos = (token == ints[:, layout.EOS : layout.EOS + layout.EOS_COLUMNS]).any(1, keepdim=True)
    kind = torch.where(is_eos, _KIND[StepKind.EOS], kind)
    kind = torch.where(allowed, kind, _KIND[StepKind.CONCEPT])
    kind = torch.where(token == think_end, _KIND[StepKind.STOP_TOKEN], kind)
    token = torch.where(kind == _KIND[StepKind.CONCEPT], token, think_end)
    thinking = column(layout.PHASE) == _PHASE[Phase.THINK]
    kind = torch.where(thinking, kind, _KIND[StepKind.PLAIN])

    # In the order of layout.py's record columns.
    k = ids.shape[1] if k is None else k
    parts = [kind, token, low, entropy.view(torch.int32), _columns(ids, k)]
    parts.append(_columns(weights, k).view(torch.int32))
    if state is not None or states:
        if state is None:
            state = weights[:, :0]
        state = _columns(state, state.shape[1] if states is None else states)
        parts.append(state.view(torch.int32))
    packed = torch.cat(parts, 1)
    if into is None:
        return StepRecord(packed, k)
    into.packed.copy_(torch.where(column(layout.METHOD) == method, packed, into.packed))
    return into


def _columns(x: torch.Tensor, count: int) -> torch.Tensor:
    missing = count - x.shape[1]
    return torch.nn.functional.pad(x, (0, missing)) if missing else x


@dispatch
def overwrite_tokens(
    record: StepRecord, tokens: torch.Tensor, index: torch.Tensor | None = None
) -> None:
    """Put the tokens of thinking rows into the sampled ids, [N] int32 or int64, in place.

    index: [A] int64 rows of the batch; None: A = N.
    """
    own = tokens if index is None else tokens[index]
    own = torch.where(record.kind != _KIND[StepKind.PLAIN], record.token, own).to(tokens.dtype)
    if index is None:
        tokens.copy_(own)
    else:
        tokens.index_copy_(0, index, own)


@dispatch
def update_pool(
    record: StepRecord,
    tokens: torch.Tensor,
    ints: torch.Tensor,
    rows: torch.Tensor,
    pool_ids: torch.Tensor,
    pool_weights: torch.Tensor,
    pool_ints: torch.Tensor,
    pool_state: torch.Tensor,
    index: torch.Tensor | None = None,
) -> None:
    """Write what the rows feed next and their new state.

    tokens: [N] int, what was emitted. ints: [A, 20] int32, as for `finish_step`. rows: [A] int64,
    all different. The pool, of which these rows are written: ids [R, >= k] int32, weights
    [R, >= k] float32 (slots beyond k are left alone), ints [R, 20] int32, state [R, >= S] float32.
    index: [A] int64 rows of the batch; None: A = N.
    """
    kind, k = record.kind, record.k
    if index is not None:
        tokens = tokens[index]
    concept, thinking = kind == _KIND[StepKind.CONCEPT], kind != _KIND[StepKind.PLAIN]
    pool_ids[:, :k].index_copy_(0, rows, record.ids)
    # Think-end and every token outside the thought are fed as plain tokens: their rows carry no
    # weight.
    weights = torch.where(concept.unsqueeze(1), record.weights, _ZERO)
    pool_weights[:, :k].index_copy_(0, rows, weights)
    state = record.state
    if state.shape[1]:
        own = pool_state[:, : state.shape[1]]
        own.index_copy_(0, rows, torch.where(thinking.unsqueeze(1), state, own[rows]))

    phase, low, step = ints[:, layout.PHASE :].unbind(1)
    starts = (phase == _PHASE[Phase.WAIT]) & (tokens == ints[:, layout.THINK_START])
    phase = torch.where(kind > _KIND[StepKind.CONCEPT], _PHASE[Phase.ANSWER], phase)
    phase = torch.where(starts, _PHASE[Phase.THINK], phase)
    changed = torch.stack(
        [phase, torch.where(thinking, record.low_entropy, low), step + concept], 1
    )
    pool_ints[:, layout.PHASE :].index_copy_(0, rows, changed)


@dispatch
def write_offsets(
    record: StepRecord,
    offsets: torch.Tensor,
    ints: torch.Tensor,
    rows: torch.Tensor,
    method: int,
    pool_offsets: torch.Tensor,
    pool_has_offset: torch.Tensor,
) -> None:
    """Write what the rows of a method that feeds embedding offsets add to their next input.

    offsets: [A, H] model dtype. ints: [A, 20] int32. rows: [A] int64. The pool: offsets [R, H]
    model dtype, has_offset [R] bool. Rows of other methods are left alone.
    """
    mine = ints[:, layout.METHOD] == method
    new = torch.where(mine.unsqueeze(1), offsets, pool_offsets[rows])
    pool_offsets.index_copy_(0, rows, new)
    concept = torch.where(mine, record.kind == _KIND[StepKind.CONCEPT], pool_has_offset[rows])
    pool_has_offset.index_copy_(0, rows, concept)
