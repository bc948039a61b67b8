"""From what a method feeds to the step's record, and from there to the rows' next state, in plain
PyTorch: the specification of `triton` and `cpu`.

Source: arXiv 2505.15778, section 3.3 (Cold Stop). Shapes: N rows of the batch, A of them that may
think, R rows of the concept pool, k slots, S columns of state, V vocabulary. Columns: layout.py.
"""

from typing import NamedTuple

import torch

from .. import layout, sequences
from ..dispatch import dispatch
from ..layout import KIND_SHIFT, Phase, StepKind

# Tensors without dimensions, once: a Python number next to a tensor is made into one, and cast, at
# every call.
_ZERO = torch.zeros((), dtype=torch.float32, device="cpu")
_FORBIDDEN = torch.full((), float("-inf"), dtype=torch.float32, device="cpu")
_KIND = torch.arange(max(StepKind) + 1, dtype=torch.int32, device="cpu").unbind()
_PHASE = torch.arange(len(Phase), dtype=torch.int32, device="cpu").unbind()


class StepRecord(NamedTuple):
    """Outcome of one step as a single tensor, so that one copy takes it to the host. Its parts are
    views."""

    packed: torch.Tensor
    """[A, 5 + 2k + S] int32"""
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
    def next_tail(self) -> torch.Tensor:
        """[A] int32: where a forced end stands after this step; `layout.tail_state`."""
        return self.packed[:, layout.NEXT_TAIL]

    @property
    def ids(self) -> torch.Tensor:
        """[A, k] int32: what the row is fed next, where `kind` is CONCEPT or CLOSING."""
        return self.packed[:, layout.ids_of(self.k)]

    @property
    def weights(self) -> torch.Tensor:
        """[A, k] float32"""
        return self.packed[:, layout.weights_of(self.k)].view(torch.float32)

    @property
    def state(self) -> torch.Tensor:
        """[A, S] float32: state of the rows' methods and stopping rules after this step."""
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
    rows: torch.Tensor,
    delimiters: torch.Tensor,
    force_end: torch.Tensor | None = None,
    stops: torch.Tensor | None = None,
    state: torch.Tensor | None = None,
    index: torch.Tensor | None = None,
    k: int | None = None,
    states: int | None = None,
    into: StepRecord | None = None,
    method: int = -1,
) -> StepRecord:
    """What the rows emit and are fed: think-end by itself or forced. Of several reasons to force it
    the first counts: end of sequence, method, stopping rule, Cold Stop, bound.

    From the method: ids [A, <= k] int32, weights [A, <= k] float32, token [A] int32, force_end [A]
    bool (force think-end), state [A, <= S] float32. stops: [A] bool, the stopping rule forces
    think-end. entropy: [A] float32. logits: [N, V], from
    which only that of the token that an end would force is read. ints: [A, 28] int32, floats:
    [A, 4] float32, the rows' parameters and state before this step. rows: [A] int64 rows of the
    pool. delimiters: [R, 96] int32 of the pool (sequences.py). index: [A] int64 rows of the batch;
    None: A = N.

    An end is forced token by token: the closing text, then think-end. A part of think-end that the
    output ends with already is not repeated, and no closing text is put before it, nor before a
    think-end in place of an end-of-sequence token.

    Weights of rows with WEIGHT_BITS are rounded (`on_grid`).

    k, states: slots and state columns (S) of the record, by default those of the method; more of
    them are cut, missing ones are 0. into: write the rows of `method` into this record, which has
    every row, and leave the others as they are.
    """

    def column(c: int) -> torch.Tensor:
        return ints[:, c : c + 1]

    if index is not None:
        logits = logits[index]
    own = delimiters[rows]
    token, entropy = token.unsqueeze(1), entropy.unsqueeze(1)
    closing, size, match = map(column, (layout.CLOSING_SIZE, layout.TAIL_SIZE, layout.MATCH))
    confident = entropy < floats[:, layout.COLD_STOP_ENTROPY :]
    low = (column(layout.LOW_ENTROPY_STEPS) + _KIND[1]) * confident
    natural = _advance(own, closing, sequences.END_FAILURE, match, token)
    ends = natural == size - closing
    is_eos = (token == ints[:, layout.EOS : layout.EOS + layout.EOS_COLUMNS]).any(1, keepdim=True)
    is_eos &= natural == _KIND[0]

    # The later line wins. The bound leaves room for the whole tail, of which all but the last token
    # are thinking tokens.
    last_step = column(layout.THINK_STEP) + size - 1
    bound = last_step >= column(layout.MAX_THINKING_TOKENS)
    kind = torch.where(bound, _KIND[StepKind.MAX_THINKING_TOKENS], _KIND[StepKind.CONCEPT])
    kind = torch.where(low >= column(layout.COLD_STOP_STEPS), _KIND[StepKind.COLD_STOP], kind)
    if stops is not None:
        kind = torch.where(stops.unsqueeze(1), _KIND[StepKind.STOP_RULE], kind)
    if force_end is not None:
        kind = torch.where(force_end.unsqueeze(1), _KIND[StepKind.METHOD], kind)
    kind = torch.where(is_eos, _KIND[StepKind.EOS], kind)
    skips = (match > _KIND[0]) | is_eos
    at = torch.where(skips, closing + match, _KIND[0])
    tail = column(layout.TAIL)
    under_way = tail > _KIND[0]
    kind = torch.where(under_way, tail // KIND_SHIFT, kind)
    at = torch.where(under_way, tail % KIND_SHIFT, at)
    # A grammar or a bias may forbid the token here; it is then forced at the first step that allows
    # it.
    target = own.gather(1, at.long())
    allowed = logits.gather(1, target.long()) > _FORBIDDEN

    forces = (kind != _KIND[StepKind.CONCEPT]) & allowed & (under_way | ~ends)
    last = at == size - 1
    token = torch.where(forces, target, token)
    following = torch.where(last, _KIND[0], (at + 1 + KIND_SHIFT * kind).int())
    tail = torch.where(forces, following, tail)
    forced = torch.where(last, kind, _KIND[StepKind.CLOSING])
    by_itself = torch.where(ends, _KIND[StepKind.STOP_TOKEN], _KIND[StepKind.CONCEPT])
    kind = torch.where(forces, forced, by_itself)
    thinking = column(layout.PHASE) == _PHASE[Phase.THINK]
    kind = torch.where(thinking, kind, _KIND[StepKind.PLAIN])

    # In the order of layout.py's record columns.
    k = ids.shape[1] if k is None else k
    ids, weights = _columns(ids, k), _columns(weights, k)
    one_hot = kind == _KIND[StepKind.CLOSING]
    first = torch.arange(k, device=ids.device) == 0
    ids, weights = on_grid(ids, weights, column(layout.WEIGHT_BITS))
    ids = torch.where(one_hot, token * first, ids).int()
    weights = torch.where(one_hot, first.float(), weights)
    parts = [kind, token, low, entropy.view(torch.int32), tail, ids, weights.view(torch.int32)]
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


def _advance(
    own: torch.Tensor, first: torch.Tensor, failure: int, match: torch.Tensor, token: torch.Tensor
) -> torch.Tensor:
    """`sequences.advance` of each row. own: [A, 96] delimiters; first: [A, 1] column of the
    sequence; failure: column of its failure function; match, token: [A, 1]."""
    for _ in range(sequences.MAX_DELIMITER - 1):
        same = own.gather(1, (first + match).long()) == token
        shorter = own.gather(1, (failure + match - 1).long())
        match = torch.where(same | (match == _KIND[0]), match, shorter)
    same = own.gather(1, (first + match).long()) == token
    return torch.where(same, match + _KIND[1], _KIND[0])


def on_grid(
    ids: torch.Tensor, weights: torch.Tensor, bits: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights as integers over 2^bits. ids: [A, k]; weights: [A, k] float32; bits: [A, 1] int32;
    rows where they are 0 stay as they are.

    By the largest remainder: each weight is rounded down to a multiple of 2^-bits, and those with
    the largest remainders get one unit more, of equal ones the first, until the units sum to
    2^bits. A weight of 0 stays 0. Slots that are left without a unit go after the others.
    """
    scale = torch.bitwise_left_shift(torch.ones_like(bits), bits).float()
    scaled = weights * scale
    units = scaled.floor()
    remainder = scaled - units
    missing = scale - units.sum(1, keepdim=True)
    mine, others = remainder.unsqueeze(2), remainder.unsqueeze(1)
    slot = torch.arange(weights.shape[1], device=weights.device)
    before = (others > mine) | ((others == mine) & (slot < slot.unsqueeze(1)))
    units += (before.sum(2) < missing) & (weights != 0)
    order = (units == 0).int().argsort(dim=1, stable=True)
    rounded = (units / scale).gather(1, order)
    given = bits == 0
    return torch.where(given, ids, ids.gather(1, order)), torch.where(given, weights, rounded)


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
    delimiters: torch.Tensor,
    index: torch.Tensor | None = None,
) -> None:
    """Write what the rows feed next and their new state.

    tokens: [N] int, what was emitted. ints: [A, 28] int32, as for `finish_step`. rows: [A] int64,
    all different. The pool, of which these rows are written: ids [R, >= k] int32, weights
    [R, >= k] float32 (slots beyond k are left alone), ints [R, 28] int32, state [R, >= S] float32.
    delimiters: [R, 96] int32 of the pool (sequences.py). index: [A] int64 rows of the batch; None:
    A = N.
    """
    kind, k = record.kind, record.k
    if index is not None:
        tokens = tokens[index]
    thinking, closing = kind != _KIND[StepKind.PLAIN], kind == _KIND[StepKind.CLOSING]
    concept = (kind == _KIND[StepKind.CONCEPT]) | closing
    pool_ids[:, :k].index_copy_(0, rows, record.ids)
    # Think-end and every token outside the thought are fed as plain tokens: their rows carry no
    # weight.
    weights = torch.where(concept.unsqueeze(1), record.weights, _ZERO)
    pool_weights[:, :k].index_copy_(0, rows, weights)
    state = record.state
    if state.shape[1]:
        own = pool_state[:, : state.shape[1]]
        own.index_copy_(0, rows, torch.where(thinking.unsqueeze(1), state, own[rows]))

    changing = slice(layout.PHASE, layout.LAST_TOKEN + 1)
    phase, low, step, before, tail, _ = ints[:, changing].unbind(1)
    own, waits = delimiters[rows], phase == _PHASE[Phase.WAIT]
    first = torch.where(waits, sequences.START_TOKENS, ints[:, layout.CLOSING_SIZE]).unsqueeze(1)
    token = tokens.unsqueeze(1)
    opens = _advance(own, first, sequences.START_FAILURE, before.unsqueeze(1), token).squeeze(1)
    closes = _advance(own, first, sequences.END_FAILURE, before.unsqueeze(1), token).squeeze(1)
    starts = waits & (opens == ints[:, layout.START_SIZE]) & (opens > _KIND[0])
    match = torch.where(waits & ~starts, opens, _KIND[0])
    match = torch.where(concept, closes, match)
    phase = torch.where(thinking & ~concept, _PHASE[Phase.ANSWER], phase)
    phase = torch.where(starts, _PHASE[Phase.THINK], phase)
    low = torch.where(thinking, record.low_entropy, low)
    tail = torch.where(concept, record.next_tail, _KIND[0])
    changed = torch.stack([phase, low, step + concept, match, tail, tokens.int()], 1)
    pool_ints[:, changing].index_copy_(0, rows, changed)


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

    offsets: [A, H] model dtype. ints: [A, 28] int32. rows: [A] int64. The pool: offsets [R, H]
    model dtype, has_offset [R] bool. Rows of other methods are left alone.
    """
    mine = ints[:, layout.METHOD] == method
    new = torch.where(mine.unsqueeze(1), offsets, pool_offsets[rows])
    pool_offsets.index_copy_(0, rows, new)
    concept = torch.where(mine, record.kind == _KIND[StepKind.CONCEPT], pool_has_offset[rows])
    pool_has_offset.index_copy_(0, rows, concept)
