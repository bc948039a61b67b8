"""The record of a step and the rows' next state, one Triton launch each; `naive` is the
specification.

One program a row. What varies between batches (k, S, strides, alignment, whether a method forces
think-end) is not a compile-time value: a server would meet new ones all the time, and there is
nothing to win in programs of one row. Only the dtypes of logits and tokens make variants.
"""

import torch
import triton
import triton.language as tl

from .. import layout, sequences
from ..index import identity
from ..layout import Phase, StepKind
from .naive import StepRecord

COLD_STOP_ENTROPY = tl.constexpr(layout.COLD_STOP_ENTROPY)
COLD_STOP_STEPS = tl.constexpr(layout.COLD_STOP_STEPS)
MAX_THINKING_TOKENS = tl.constexpr(layout.MAX_THINKING_TOKENS)
START_SIZE = tl.constexpr(layout.START_SIZE)
CLOSING_SIZE = tl.constexpr(layout.CLOSING_SIZE)
TAIL_SIZE = tl.constexpr(layout.TAIL_SIZE)
WEIGHT_BITS = tl.constexpr(layout.WEIGHT_BITS)
SLOTS = tl.constexpr(layout.MAX_SLOTS)
EOS_COLUMN = tl.constexpr(layout.EOS)
EOS_COLUMNS = tl.constexpr(layout.EOS_COLUMNS)
METHOD_COLUMN = tl.constexpr(layout.METHOD)
PHASE = tl.constexpr(layout.PHASE)
LOW_ENTROPY_STEPS = tl.constexpr(layout.LOW_ENTROPY_STEPS)
THINK_STEP = tl.constexpr(layout.THINK_STEP)
MATCH = tl.constexpr(layout.MATCH)
TAIL = tl.constexpr(layout.TAIL)
LAST_TOKEN = tl.constexpr(layout.LAST_TOKEN)
KIND_SHIFT = tl.constexpr(layout.KIND_SHIFT)

START_TOKENS = tl.constexpr(sequences.START_TOKENS)
START_FAILURE = tl.constexpr(sequences.START_FAILURE)
END_FAILURE = tl.constexpr(sequences.END_FAILURE)
FALLBACKS = tl.constexpr(sequences.MAX_DELIMITER - 1)

KIND = tl.constexpr(layout.KIND)
TOKEN = tl.constexpr(layout.TOKEN)
LOW_ENTROPY = tl.constexpr(layout.LOW_ENTROPY)
ENTROPY = tl.constexpr(layout.ENTROPY)
NEXT_TAIL = tl.constexpr(layout.NEXT_TAIL)
HEAD = tl.constexpr(layout.RECORD_HEAD)

WAIT = tl.constexpr(int(Phase.WAIT))
THINK = tl.constexpr(int(Phase.THINK))
ANSWER = tl.constexpr(int(Phase.ANSWER))

PLAIN = tl.constexpr(int(StepKind.PLAIN))
CONCEPT = tl.constexpr(int(StepKind.CONCEPT))
STOP_TOKEN = tl.constexpr(int(StepKind.STOP_TOKEN))
COLD_STOP = tl.constexpr(int(StepKind.COLD_STOP))
MAX_TOKENS = tl.constexpr(int(StepKind.MAX_THINKING_TOKENS))
METHOD = tl.constexpr(int(StepKind.METHOD))
EOS = tl.constexpr(int(StepKind.EOS))
CLOSING = tl.constexpr(int(StepKind.CLOSING))
STOP_RULE = tl.constexpr(int(StepKind.STOP_RULE))

WARPS, OFFSET_WARPS = 1, 4
OFFSETS = tl.constexpr(1024)
"""Elements of an embedding offset that a program copies."""
WIDTH = tl.constexpr(32)
"""Columns that one round of a loop over a row's columns copies."""


@triton.jit
def _advance(sequence, borders, match, token):
    """`sequences.advance`."""
    for _ in range(FALLBACKS):
        falls = (match > 0) & (token != tl.load(sequence + match))
        match = tl.where(falls, tl.load(borders + match - 1, mask=falls, other=0), match)
    return tl.where(token == tl.load(sequence + match), match + 1, 0)


@triton.jit
def _store_on_grid(packed, k, ids_ptr, weights_ptr, given, bits):
    """`naive.on_grid` of one row, into its record."""
    slot = tl.arange(0, SLOTS)
    # Powers of two by their bits: products with them are exact.
    scale = ((127 + bits) << 23).to(tl.float32, bitcast=True)
    unit = ((127 - bits) << 23).to(tl.float32, bitcast=True)
    ids = tl.load(ids_ptr + slot, mask=slot < given, other=0).to(tl.int32)
    weights = tl.load(weights_ptr + slot, mask=slot < given, other=0.0)
    scaled = weights * scale
    units = tl.floor(scaled)
    remainder = scaled - units
    missing = scale - tl.sum(units, 0)
    rank = tl.zeros((SLOTS,), tl.int32)
    for j in range(0, given):
        other = tl.load(weights_ptr + j) * scale
        other -= tl.floor(other)
        rank += ((other > remainder) | ((other == remainder) & (j < slot))).to(tl.int32)
    units += ((rank.to(tl.float32) < missing) & (weights != 0)).to(tl.float32)
    used = (units != 0).to(tl.int32)
    before, total = tl.cumsum(used, 0) - used, tl.sum(used, 0)
    to = tl.where(used != 0, before, total + slot - before)
    tl.store(packed + HEAD + to, ids, mask=slot < k)
    tl.store(packed + HEAD + k + to, (units * unit).to(tl.int32, bitcast=True), mask=slot < k)
    for first in range(SLOTS, k, WIDTH):  # no method gives that many
        empty = first + tl.arange(0, WIDTH)
        tl.store(packed + HEAD + empty, tl.zeros((WIDTH,), tl.int32), mask=empty < k)
        tl.store(packed + HEAD + k + empty, tl.zeros((WIDTH,), tl.int32), mask=empty < k)


@triton.jit(do_not_specialize=range(30))
def finish_step_kernel(
    ids_ptr,  # [A, k]
    weights_ptr,  # [A, k] float32
    token_ptr,  # [A], any stride
    entropy_ptr,  # [A] float32
    logits_ptr,  # [N, V]
    index_ptr,  # [A] row of the batch
    ints_ptr,  # [A, 28] int32
    floats_ptr,  # [A, 4] float32
    force_end_ptr,  # [A] int8, read if has_force_end
    stops_ptr,  # [A] int8, read if has_stops
    state_ptr,  # [A, S] float32
    rows_ptr,  # [A]
    delimiters_ptr,  # [R, 96] int32
    packed_ptr,  # [A, 5 + 2k + S] int32
    has_force_end,
    has_stops,
    k,
    S,
    given,
    given_S,
    method,
    ids_stride,
    weights_stride,
    token_stride,
    state_stride,
    logits_stride,
    ints_stride,
    floats_stride,
    delimiters_stride,
    packed_stride,
):
    a = tl.program_id(0).to(tl.int64)
    n = tl.load(index_ptr + a)
    ints = ints_ptr + a * ints_stride
    if (method >= 0) & (tl.load(ints + METHOD_COLUMN) != method):
        return
    own = delimiters_ptr + tl.load(rows_ptr + a).to(tl.int64) * delimiters_stride
    token = tl.load(token_ptr + a * token_stride).to(tl.int32)
    entropy = tl.load(entropy_ptr + a)
    closing, size = tl.load(ints + CLOSING_SIZE), tl.load(ints + TAIL_SIZE)
    match, tail = tl.load(ints + MATCH), tl.load(ints + TAIL)
    confident = entropy < tl.load(floats_ptr + a * floats_stride + COLD_STOP_ENTROPY)
    low = tl.where(confident, tl.load(ints + LOW_ENTROPY_STEPS) + 1, 0)
    natural = _advance(own + closing, own + END_FAILURE, match, token)
    ends = natural == size - closing
    is_eos = token != token
    for i in tl.static_range(EOS_COLUMNS):
        is_eos |= token == tl.load(ints + EOS_COLUMN + i)
    is_eos &= natural == 0

    bound = tl.load(ints + THINK_STEP) + size - 1 >= tl.load(ints + MAX_THINKING_TOKENS)
    kind = tl.where(bound, MAX_TOKENS, CONCEPT)
    kind = tl.where(low >= tl.load(ints + COLD_STOP_STEPS), COLD_STOP, kind)
    stops = tl.load(stops_ptr + a, mask=has_stops != 0, other=0)
    kind = tl.where(stops != 0, STOP_RULE, kind)
    force_end = tl.load(force_end_ptr + a, mask=has_force_end != 0, other=0)
    kind = tl.where(force_end != 0, METHOD, kind)
    kind = tl.where(is_eos, EOS, kind)
    under_way = tail > 0
    at = tl.where((match > 0) | is_eos, closing + match, 0)
    at = tl.where(under_way, tail % KIND_SHIFT, at)
    kind = tl.where(under_way, tail // KIND_SHIFT, kind)
    target = tl.load(own + at)
    allowed = tl.load(logits_ptr + n * logits_stride + target).to(tl.float32) > float("-inf")

    forces = (kind != CONCEPT) & allowed & (under_way | (ends == 0))
    last = at == size - 1
    token = tl.where(forces, target, token)
    tail = tl.where(forces, tl.where(last, 0, at + 1 + KIND_SHIFT * kind), tail)
    by_itself = tl.where(ends, STOP_TOKEN, CONCEPT)
    kind = tl.where(forces, tl.where(last, kind, CLOSING), by_itself)
    kind = tl.where(tl.load(ints + PHASE) == THINK, kind, PLAIN)
    one_hot = kind == CLOSING

    packed = packed_ptr + a * packed_stride
    tl.store(packed + KIND, kind)
    tl.store(packed + TOKEN, token)
    tl.store(packed + LOW_ENTROPY, low)
    tl.store(packed + ENTROPY, entropy.to(tl.int32, bitcast=True))
    tl.store(packed + NEXT_TAIL, tail)
    ids_ptr += a * ids_stride
    weights_ptr += a * weights_stride
    bits = tl.load(ints + WEIGHT_BITS)
    if (bits > 0) & (one_hot == 0):
        _store_on_grid(packed, k, ids_ptr, weights_ptr, given, bits)
    else:
        for first in range(0, k, WIDTH):
            slot = first + tl.arange(0, WIDTH)
            ids = tl.load(ids_ptr + slot, mask=slot < given, other=0)
            weights = tl.load(weights_ptr + slot, mask=slot < given, other=0.0)
            ids = tl.where(one_hot, tl.where(slot == 0, token, 0), ids.to(tl.int32))
            weights = tl.where(one_hot, tl.where(slot == 0, 1.0, 0.0), weights)
            tl.store(packed + HEAD + slot, ids, mask=slot < k)
            tl.store(packed + HEAD + k + slot, weights.to(tl.int32, bitcast=True), mask=slot < k)
    for first in range(0, S, WIDTH):
        s = first + tl.arange(0, WIDTH)
        state = tl.load(state_ptr + a * state_stride + s, mask=s < given_S, other=0.0)
        tl.store(packed + HEAD + 2 * k + s, state.to(tl.int32, bitcast=True), mask=s < S)


@triton.jit(do_not_specialize=range(5))
def overwrite_tokens_kernel(packed_ptr, tokens_ptr, index_ptr, packed_stride, tokens_stride):
    a = tl.program_id(0).to(tl.int64)
    n = tl.load(index_ptr + a)
    packed = packed_ptr + a * packed_stride
    thinking = tl.load(packed + KIND) != PLAIN
    token = tl.load(packed + TOKEN).to(tokens_ptr.dtype.element_ty)
    tl.store(tokens_ptr + n * tokens_stride, token, mask=thinking)


@triton.jit(do_not_specialize=range(20))
def update_pool_kernel(
    packed_ptr,  # [A, 5 + 2k + S] int32
    tokens_ptr,  # [N], any stride
    index_ptr,  # [A] row of the batch
    before_ptr,  # [A, 28] int32
    rows_ptr,  # [A]
    ids_ptr,  # [R, >= k] int32
    weights_ptr,  # [R, >= k] float32
    ints_ptr,  # [R, 28] int32
    state_ptr,  # [R, >= S] float32
    delimiters_ptr,  # [R, 96] int32
    k,
    S,
    packed_stride,
    tokens_stride,
    before_stride,
    ids_stride,
    weights_stride,
    ints_stride,
    state_stride,
    delimiters_stride,
):
    a = tl.program_id(0).to(tl.int64)
    n = tl.load(index_ptr + a)
    row = tl.load(rows_ptr + a).to(tl.int64)
    packed = packed_ptr + a * packed_stride
    kind = tl.load(packed + KIND)
    concept = (kind == CONCEPT) | (kind == CLOSING)
    thinking = kind != PLAIN

    for first in range(0, k, WIDTH):
        slot = first + tl.arange(0, WIDTH)
        ids = tl.load(packed + HEAD + slot, mask=slot < k, other=0)
        tl.store(ids_ptr + row * ids_stride + slot, ids, mask=slot < k)
        # Zero where the row is fed a plain token.
        weights = tl.load(packed + HEAD + k + slot, mask=(slot < k) & concept, other=0)
        weights = weights.to(tl.float32, bitcast=True)
        tl.store(weights_ptr + row * weights_stride + slot, weights, mask=slot < k)
    for first in range(0, S, WIDTH):
        s = first + tl.arange(0, WIDTH)
        written = (s < S) & thinking
        state = tl.load(packed + HEAD + 2 * k + s, mask=written, other=0)
        state = state.to(tl.float32, bitcast=True)
        tl.store(state_ptr + row * state_stride + s, state, mask=written)

    before, ints = before_ptr + a * before_stride, ints_ptr + row * ints_stride
    own = delimiters_ptr + row * delimiters_stride
    phase, match = tl.load(before + PHASE), tl.load(before + MATCH)
    waiting = phase == WAIT
    token = tl.load(tokens_ptr + n * tokens_stride).to(tl.int32)
    sequence = own + tl.where(waiting, START_TOKENS, tl.load(before + CLOSING_SIZE))
    match = _advance(sequence, own + tl.where(waiting, START_FAILURE, END_FAILURE), match, token)
    starts = waiting & (match > 0) & (match == tl.load(before + START_SIZE))
    phase = tl.where(starts, THINK, tl.where(thinking & (concept == 0), ANSWER, phase))
    tl.store(ints + PHASE, phase)
    tl.store(ints + LAST_TOKEN, token)
    tl.store(ints + MATCH, tl.where((waiting & (starts == 0)) | concept, match, 0))
    tl.store(ints + TAIL, tl.where(concept, tl.load(packed + NEXT_TAIL), 0))
    tl.store(ints + LOW_ENTROPY_STEPS, tl.load(packed + LOW_ENTROPY), mask=thinking)
    tl.store(ints + THINK_STEP, tl.load(before + THINK_STEP) + 1, mask=concept)


@triton.jit(do_not_specialize=range(11))
def write_offsets_kernel(
    packed_ptr,  # [A, 5 + 2k + S] int32
    offsets_ptr,  # [A, H]
    ints_ptr,  # [A, 28] int32
    rows_ptr,  # [A]
    pool_offsets_ptr,  # [R, H]
    pool_has_offset_ptr,  # [R] int8
    H,
    method,
    packed_stride,
    offsets_stride,
    ints_stride,
):
    a, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    if tl.load(ints_ptr + a * ints_stride + METHOD_COLUMN) == method:
        row = tl.load(rows_ptr + a).to(tl.int64)
        h = block * OFFSETS + tl.arange(0, OFFSETS)
        offset = tl.load(offsets_ptr + a * offsets_stride + h, mask=h < H, other=0.0)
        tl.store(pool_offsets_ptr + row * H + h, offset, mask=h < H)
        concept = tl.load(packed_ptr + a * packed_stride + KIND) == CONCEPT
        tl.store(pool_has_offset_ptr + row, concept.to(tl.int8), mask=block == 0)


def write_offsets(record, offsets, ints, rows, method, pool_offsets, pool_has_offset):
    packed, H = record.packed, offsets.shape[1]
    assert offsets.stride(1) == 1 or H == 1
    assert pool_offsets.is_contiguous() and offsets.dtype == pool_offsets.dtype
    if len(packed):
        write_offsets_kernel[(len(packed), triton.cdiv(H, OFFSETS.value))](
            packed, offsets, ints, rows, pool_offsets, pool_has_offset.view(torch.int8), H, method,
            packed.stride(0), offsets.stride(0), ints.stride(0), num_warps=OFFSET_WARPS,
        )  # fmt: skip


def finish_step(
    ids, weights, token, entropy, logits, ints, floats, *, rows, delimiters, force_end=None,
    stops=None, state=None, index=None, k=None, states=None, into=None, method=-1,
):  # fmt: skip
    """`token` may have any stride; the last dimension of the others is contiguous."""
    A, k = len(ids), ids.shape[1] if k is None else k
    given_S = 0 if state is None else state.shape[1]
    S = given_S if states is None else states
    last = [ids, weights, entropy, logits, ints, floats, rows, delimiters]
    last += [x for x in (force_end, stops, state) if x is not None]
    assert all(x.stride(-1) == 1 for x in last if x.shape[-1] > 1)
    assert weights.dtype == entropy.dtype == floats.dtype == torch.float32
    assert ints.dtype == delimiters.dtype == torch.int32
    columns = layout.record_columns(k, S)
    if into is None:
        packed = torch.empty((A, columns), dtype=torch.int32, device=ids.device)
        into, method = StepRecord(packed, k), -1
    packed = into.packed
    assert packed.shape == (A, columns), "a record of another step"
    if A == 0:
        return into
    index = identity(A, ids.device) if index is None else index
    flags, stopping = (
        (packed if x is None else x).view(torch.int8) for x in (force_end, stops)
    )  # not read where there is none
    if state is None:
        state = floats  # not read
    finish_step_kernel[(A,)](
        ids, weights, token, entropy, logits, index, ints, floats, flags, stopping, state,
        rows, delimiters, packed, int(force_end is not None), int(stops is not None), k, S,
        min(k, ids.shape[1]), min(S, given_S), method,
        ids.stride(0), weights.stride(0), token.stride(0),
        state.stride(0), logits.stride(0), ints.stride(0), floats.stride(0), delimiters.stride(0),
        packed.stride(0), num_warps=WARPS,
    )  # fmt: skip
    return into


def overwrite_tokens(record, tokens, index=None):
    packed = record.packed
    if len(packed):
        index = identity(len(packed), packed.device) if index is None else index
        overwrite_tokens_kernel[(len(packed),)](
            packed, tokens, index, packed.stride(0), tokens.stride(0), num_warps=WARPS
        )


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
    packed, k = record
    S = packed.shape[1] - layout.record_columns(k, 0)
    contiguous = (ints, pool_ids, pool_weights, pool_ints, pool_state, delimiters)
    assert all(x.stride(1) == 1 for x in contiguous if x.shape[1] > 1)
    assert rows.stride(0) == 1 or len(rows) <= 1
    if len(packed) == 0:
        return
    index = identity(len(packed), packed.device) if index is None else index
    update_pool_kernel[(len(packed),)](
        packed, tokens, index, ints, rows, pool_ids, pool_weights, pool_ints, pool_state,
        delimiters, k, S, packed.stride(0), tokens.stride(0), ints.stride(0), pool_ids.stride(0),
        pool_weights.stride(0), pool_ints.stride(0), pool_state.stride(0),
        delimiters.stride(0), num_warps=WARPS,
    )  # fmt: skip
