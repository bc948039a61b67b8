"""The record of a step and the rows' next state as compiled loops; `naive` is the specification."""

import numpy as np
import torch

from .. import layout
from ..compiled import NONE, compiled, index_array
from ..layout import Phase, StepKind
from .naive import StepRecord


def _finish_loop(LAYOUT: tuple[int, ...], KINDS: tuple[int, ...], THINK: int):
    THINK_END, PHASE, LOW_STEPS, STEP, COLD_STEPS, BOUND, COLD_ENTROPY, HEAD, METHOD_COLUMN = LAYOUT
    KIND, TOKEN, LOW, ENTROPY = layout.KIND, layout.TOKEN, layout.LOW_ENTROPY, layout.ENTROPY
    PLAIN, CONCEPT, STOP_TOKEN, COLD_STOP, MAX_TOKENS, METHOD, EOS = KINDS
    FIRST_EOS, LAST_EOS = layout.EOS, layout.EOS + layout.EOS_COLUMNS

    @compiled
    def finish_loop(
        ids, weights, token, entropy, logits, index, ints, floats, force_end, state, packed,
        k, method,
    ):  # fmt: skip
        given, S = min(ids.shape[1], k), packed.shape[1] - HEAD - 2 * k
        for a in range(ids.shape[0]):
            if method >= 0 and ints[a, METHOD_COLUMN] != method:
                continue
            n = index[a] if index.size > 0 else a
            think_end = ints[a, THINK_END]
            if not 0 <= think_end < logits.shape[1]:
                raise IndexError("think-end outside the vocabulary")
            low = ints[a, LOW_STEPS] + 1 if entropy[a] < floats[a, COLD_ENTROPY] else 0
            kind = CONCEPT
            if token[a] == think_end:
                kind = STOP_TOKEN
            elif logits[n, think_end] > -np.inf:
                is_eos = False
                for column in range(FIRST_EOS, LAST_EOS):
                    is_eos |= token[a] == ints[a, column]
                if is_eos:
                    kind = EOS
                elif force_end.size > 0 and force_end[a]:
                    kind = METHOD
                elif low >= ints[a, COLD_STEPS]:
                    kind = COLD_STOP
                elif ints[a, STEP] >= ints[a, BOUND]:
                    kind = MAX_TOKENS
            packed[a, KIND] = kind if ints[a, PHASE] == THINK else PLAIN
            packed[a, TOKEN] = token[a] if kind == CONCEPT else think_end
            packed[a, LOW] = low
            packed[a, ENTROPY] = entropy[a : a + 1].view(np.int32)[0]
            bits, state_bits = weights[a].view(np.int32), state[a].view(np.int32)
            for i in range(k):
                packed[a, HEAD + i] = ids[a, i] if i < given else 0
                packed[a, HEAD + k + i] = bits[i] if i < given else 0
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


def _update_loop(LAYOUT: tuple[int, ...], PHASES: tuple[int, ...]):
    THINK_START, PHASE, LOW_STEPS, STEP, KIND, LOW, HEAD, PLAIN, CONCEPT = LAYOUT
    WAIT, THINK, ANSWER = PHASES

    @compiled
    def update_loop(packed, k, tokens, index, before, rows, ids, weights, ints, state):
        S = packed.shape[1] - HEAD - 2 * k
        bits = weights.view(np.int32)
        state_bits = state.view(np.int32)
        for a in range(rows.size):
            row, kind = rows[a], packed[a, KIND]
            for i in range(k):
                ids[row, i] = packed[a, HEAD + i]
                # Think-end and every token outside the thought are fed as plain tokens: their rows
                # carry no weight.
                bits[row, i] = packed[a, HEAD + k + i] if kind == CONCEPT else 0
            if kind != PLAIN:
                ints[row, LOW_STEPS] = packed[a, LOW]
                for s in range(S):
                    state_bits[row, s] = packed[a, HEAD + 2 * k + s]
                if kind == CONCEPT:
                    ints[row, STEP] = before[a, STEP] + 1
                else:
                    ints[row, PHASE] = ANSWER
            elif before[a, PHASE] == WAIT:
                token = tokens[index[a] if index.size > 0 else a]
                if token == before[a, THINK_START]:
                    ints[row, PHASE] = THINK

    return update_loop


finish_loop = _finish_loop(
    (layout.THINK_END, layout.PHASE, layout.LOW_ENTROPY_STEPS, layout.THINK_STEP,
     layout.COLD_STOP_STEPS, layout.MAX_THINKING_TOKENS, layout.COLD_STOP_ENTROPY,
     layout.RECORD_HEAD, layout.METHOD),
    tuple(map(int, StepKind)), int(Phase.THINK),
)  # fmt: skip
overwrite_loop = _overwrite_loop(layout.KIND, layout.TOKEN, int(StepKind.PLAIN))
update_loop = _update_loop(
    (layout.THINK_START, layout.PHASE, layout.LOW_ENTROPY_STEPS, layout.THINK_STEP, layout.KIND,
     layout.LOW_ENTROPY, layout.RECORD_HEAD, int(StepKind.PLAIN), int(StepKind.CONCEPT)),
    (int(Phase.WAIT), int(Phase.THINK), int(Phase.ANSWER)),
)  # fmt: skip


def finish_step(
    ids, weights, token, entropy, logits, ints, floats, *, force_end=None, state=None, index=None,
    k=None, states=None, into=None, method=-1,
):  # fmt: skip
    A, k = len(ids), ids.shape[1] if k is None else k
    if states is None:
        states = 0 if state is None else state.shape[1]
    own = [weights, token, entropy, ints, floats, *(x for x in (force_end, state) if x is not None)]
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
        index_array(index), ints.numpy(), floats.numpy(),
        NONE if force_end is None else force_end.numpy(),
        own_state, packed.numpy(),
        k, method,
    )  # fmt: skip
    return into


def overwrite_tokens(record, tokens, index=None):
    A = len(record.packed)
    assert len(tokens) == A if index is None else len(index) == A, "rows of different batches"
    overwrite_loop(record.packed.numpy(), tokens.numpy(), index_array(index))


def update_pool(
    record, tokens, ints, rows, pool_ids, pool_weights, pool_ints, pool_state, index=None
):
    A, k = len(record.packed), record.k
    assert len(ints) == len(rows) == A, "rows of different batches"
    assert len(tokens) == A if index is None else len(index) == A, "rows of different batches"
    assert pool_ids.shape[1] >= k <= pool_weights.shape[1]
    assert pool_state.shape[1] >= record.state.shape[1]
    pool = (x.numpy() for x in (pool_ids, pool_weights, pool_ints, pool_state))
    update_loop(
        record.packed.numpy(), k, tokens.numpy(), index_array(index), ints.numpy(), rows.numpy(),
        *pool,
    )  # fmt: skip
