"""The record of a step and the rows' next state as compiled loops; `naive` is the specification."""

import numpy as np
import torch

from .. import layout, sequences
from ..compiled import NONE, compiled, index_array
from ..layout import Phase, StepKind
from .naive import StepRecord

_SEQUENCES = (sequences.START_TOKENS, sequences.START_FAILURE, sequences.END_FAILURE)


@compiled
def _advance(own, first, failure, match, token):
    """`sequences.advance`. own: a row of delimiters; first, failure: columns of the sequence and of
    its failure function."""
    while match > 0 and own[first + match] != token:
        match = own[failure + match - 1]
    return match + 1 if own[first + match] == token else 0


@compiled
def _put_on_grid(packed, first, k, bits):
    """`naive.on_grid` of one row of a record: its ids in k columns from `first` on, then its
    weights."""
    weights = packed[first + k : first + 2 * k].view(np.float32)
    scale = np.float32(1 << bits)
    remainder, given = np.empty(k, np.float32), weights != 0
    missing = scale
    for i in range(k):
        scaled = weights[i] * scale
        weights[i] = np.floor(scaled)
        remainder[i] = scaled - weights[i]
        missing -= weights[i]
    order = np.argsort(-remainder, kind="mergesort")
    for rank in range(k):
        if rank < missing and given[order[rank]]:
            weights[order[rank]] += np.float32(1)
    used, ids = 0, packed[first : first + k].copy()
    for i in range(k):
        used += weights[i] != 0
    units, at, last = weights.copy(), 0, used
    for i in range(k):
        if units[i] != 0:
            to, at = at, at + 1
        else:
            to, last = last, last + 1
        packed[first + to] = ids[i]
        weights[to] = units[i] / scale


def _finish_loop(LAYOUT: tuple[int, ...], KINDS: tuple[int, ...], THINK: int, END_FAILURE: int):
    CLOSING_SIZE, TAIL_SIZE, FIRST_EOS, PHASE, LOW_STEPS, STEP, MATCH, TAIL = LAYOUT[:8]
    COLD_STEPS, BOUND, METHOD_COLUMN, COLD_ENTROPY, HEAD, SHIFT, WEIGHT_BITS = LAYOUT[8:]
    KIND, TOKEN, LOW, ENTROPY = layout.KIND, layout.TOKEN, layout.LOW_ENTROPY, layout.ENTROPY
    NEXT_TAIL, LAST_EOS = layout.NEXT_TAIL, FIRST_EOS + layout.EOS_COLUMNS
    PLAIN, CONCEPT, STOP_TOKEN, COLD_STOP, MAX_TOKENS, METHOD, EOS, CLOSING, STOP_RULE = KINDS
    ONE = int(np.float32(1).view(np.int32))

    @compiled
    def finish_loop(
        ids, weights, token, entropy, logits, index, ints, floats, rows, delimiters, force_end,
        stops, state, packed, k, method,
    ):  # fmt: skip
        given, S = min(ids.shape[1], k), packed.shape[1] - HEAD - 2 * k
        for a in range(ids.shape[0]):
            if method >= 0 and ints[a, METHOD_COLUMN] != method:
                continue
            n = index[a] if index.size > 0 else a
            own, emitted = delimiters[rows[a]], token[a]
            closing, size, match = ints[a, CLOSING_SIZE], ints[a, TAIL_SIZE], ints[a, MATCH]
            low = ints[a, LOW_STEPS] + 1 if entropy[a] < floats[a, COLD_ENTROPY] else 0
            natural = _advance(own, closing, END_FAILURE, match, emitted)
            ends, tail = natural == size - closing, ints[a, TAIL]
            is_eos = False
            if natural == 0:
                for column in range(FIRST_EOS, LAST_EOS):
                    is_eos |= ints[a, column] == emitted
            at, kind = closing + match if match > 0 or is_eos else 0, CONCEPT
            if tail > 0:
                at, kind = tail % SHIFT, tail // SHIFT
            elif is_eos:
                kind = EOS
            elif force_end.size > 0 and force_end[a]:
                kind = METHOD
            elif stops.size > 0 and stops[a]:
                kind = STOP_RULE
            elif low >= ints[a, COLD_STEPS]:
                kind = COLD_STOP
            elif ints[a, STEP] + size - 1 >= ints[a, BOUND]:
                kind = MAX_TOKENS
            target = own[at]
            if not 0 <= target < logits.shape[1]:
                raise IndexError("think-end outside the vocabulary")
            forces = kind != CONCEPT and logits[n, target] > -np.inf and (tail > 0 or not ends)
            if forces:
                emitted, tail = target, at + 1 + SHIFT * kind
                if at == size - 1:
                    tail = 0
                else:
                    kind = CLOSING
            else:
                kind = STOP_TOKEN if ends else CONCEPT
            if ints[a, PHASE] != THINK:
                kind = PLAIN
            packed[a, KIND] = kind
            packed[a, TOKEN] = emitted
            packed[a, LOW] = low
            packed[a, ENTROPY] = entropy[a : a + 1].view(np.int32)[0]
            packed[a, NEXT_TAIL] = tail
            bits, state_bits = weights[a].view(np.int32), state[a].view(np.int32)
            for i in range(k):
                packed[a, HEAD + i] = ids[a, i] if i < given else 0
                packed[a, HEAD + k + i] = bits[i] if i < given else 0
                if kind == CLOSING:
                    packed[a, HEAD + i] = emitted if i == 0 else 0
                    packed[a, HEAD + k + i] = ONE if i == 0 else 0
            if ints[a, WEIGHT_BITS] > 0 and kind != CLOSING:
                _put_on_grid(packed[a], HEAD, k, ints[a, WEIGHT_BITS])
            for s in range(S):
                packed[a, HEAD + 2 * k + s] = state_bits[s] if s < state.shape[1] else 0

    return finish_loop


def _overwrite_loop(KIND: int, TOKEN: int, PLAIN: int):
    @compiled
    def overwrite_loop(packed, tokens, index):
        for a in range(packed.shape[0]):
            if packed[a, KIND] != PLAIN:
                tokens[index[a] if index.size > 0 else a] = packed[a, TOKEN]

    return overwrite_loop


def _update_loop(LAYOUT: tuple[int, ...], PHASES: tuple[int, ...], SEQUENCES: tuple[int, ...]):
    START_SIZE, CLOSING_SIZE, PHASE, LOW_STEPS, STEP, MATCH, TAIL, LAST = LAYOUT[:8]
    KIND, LOW, NEXT_TAIL, HEAD, PLAIN, CONCEPT, CLOSING = LAYOUT[8:]
    WAIT, THINK, ANSWER = PHASES
    START_TOKENS, START_FAILURE, END_FAILURE = SEQUENCES

    @compiled
    def update_loop(packed, k, tokens, index, before, rows, ids, weights, ints, state, delimiters):
        S = packed.shape[1] - HEAD - 2 * k
        bits = weights.view(np.int32)
        state_bits = state.view(np.int32)
        for a in range(rows.size):
            row, kind = rows[a], packed[a, KIND]
            concept = kind in (CONCEPT, CLOSING)
            for i in range(k):
                ids[row, i] = packed[a, HEAD + i]
                # The last token of think-end and every token outside the thought are fed as plain
                # tokens: their rows carry no weight.
                bits[row, i] = packed[a, HEAD + k + i] if concept else 0
            token, own = tokens[index[a] if index.size > 0 else a], delimiters[row]
            match, tail = 0, 0
            if kind != PLAIN:
                ints[row, LOW_STEPS] = packed[a, LOW]
                for s in range(S):
                    state_bits[row, s] = packed[a, HEAD + 2 * k + s]
                if concept:
                    ints[row, STEP] = before[a, STEP] + 1
                    first = before[a, CLOSING_SIZE]
                    match = _advance(own, first, END_FAILURE, before[a, MATCH], token)
                    tail = packed[a, NEXT_TAIL]
                else:
                    ints[row, PHASE] = ANSWER
            elif before[a, PHASE] == WAIT:
                match = _advance(own, START_TOKENS, START_FAILURE, before[a, MATCH], token)
                if match > 0 and match == before[a, START_SIZE]:
                    ints[row, PHASE] = THINK
                    match = 0
            ints[row, MATCH] = match
            ints[row, TAIL] = tail
            ints[row, LAST] = token

    return update_loop


finish_loop = _finish_loop(
    (layout.CLOSING_SIZE, layout.TAIL_SIZE, layout.EOS, layout.PHASE,
     layout.LOW_ENTROPY_STEPS, layout.THINK_STEP, layout.MATCH, layout.TAIL,
     layout.COLD_STOP_STEPS, layout.MAX_THINKING_TOKENS, layout.METHOD, layout.COLD_STOP_ENTROPY,
     layout.RECORD_HEAD, layout.KIND_SHIFT, layout.WEIGHT_BITS),
    tuple(map(int, StepKind)), int(Phase.THINK), sequences.END_FAILURE,
)  # fmt: skip
overwrite_loop = _overwrite_loop(layout.KIND, layout.TOKEN, int(StepKind.PLAIN))
update_loop = _update_loop(
    (layout.START_SIZE, layout.CLOSING_SIZE, layout.PHASE, layout.LOW_ENTROPY_STEPS,
     layout.THINK_STEP, layout.MATCH, layout.TAIL, layout.LAST_TOKEN, layout.KIND,
     layout.LOW_ENTROPY, layout.NEXT_TAIL, layout.RECORD_HEAD, int(StepKind.PLAIN),
     int(StepKind.CONCEPT), int(StepKind.CLOSING)),
    (int(Phase.WAIT), int(Phase.THINK), int(Phase.ANSWER)), _SEQUENCES,
)  # fmt: skip


def finish_step(
    ids, weights, token, entropy, logits, ints, floats, *, rows, delimiters, force_end=None,
    stops=None, state=None, index=None, k=None, states=None, into=None, method=-1,
):  # fmt: skip
    A, k = len(ids), ids.shape[1] if k is None else k
    if states is None:
        states = 0 if state is None else state.shape[1]
    own = [weights, token, entropy, ints, floats, rows]
    own += [x for x in (force_end, stops, state) if x is not None]
    assert all(len(x) == A for x in own) and weights.shape == ids.shape, "rows of different batches"
    assert len(logits) == A if index is None else len(index) == A, "rows of different batches"
    if into is None:
        packed = torch.empty((A, layout.record_columns(k, states)), dtype=torch.int32)
        into, method = StepRecord(packed, k), -1
    packed = into.packed
    assert packed.shape == (A, layout.record_columns(k, states)), "a record of another step"
    given = [x.contiguous().numpy() for x in (ids, weights, token)]  # one variant of the loop
    own_state = np.empty((A, 0), np.float32) if state is None else state.contiguous().numpy()
    finish_loop(
        *given, entropy.numpy(), logits.float().numpy(),
        index_array(index), ints.numpy(), floats.numpy(), rows.numpy(), delimiters.numpy(),
        NONE if force_end is None else force_end.numpy(), NONE if stops is None else stops.numpy(),
        own_state, packed.numpy(),
        k, method,
    )  # fmt: skip
    return into


def overwrite_tokens(record, tokens, index=None):
    A = len(record.packed)
    assert len(tokens) == A if index is None else len(index) == A, "rows of different batches"
    overwrite_loop(record.packed.numpy(), tokens.numpy(), index_array(index))


def update_pool(
    record,
    tokens,
    ints,
    rows,
    pool_ids,
    pool_weights,
    pool_ints,
    pool_state,
    delimiters,
    index=None,
):
    A, k = len(record.packed), record.k
    assert len(ints) == len(rows) == A, "rows of different batches"
    assert len(tokens) == A if index is None else len(index) == A, "rows of different batches"
    assert pool_ids.shape[1] >= k <= pool_weights.shape[1]
    assert pool_state.shape[1] >= record.state.shape[1]
    pool = (x.numpy() for x in (pool_ids, pool_weights, pool_ints, pool_state, delimiters))
    update_loop(
        record.packed.numpy(), k, tokens.numpy(), index_array(index), ints.numpy(), rows.numpy(),
        *pool,
    )  # fmt: skip
