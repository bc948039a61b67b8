"""The record of a step and the rows' next state, one Triton launch each; `naive` is the
specification.

One program a row. What varies between batches (k, S, strides, alignment, whether a method forces
think-end) is not a compile-time value: a server would meet new ones all the time, and there is
nothing to win in programs of one row. Only the dtypes of logits and tokens make variants.
"""

import torch
import triton
import triton.language as tl

from .. import layout
from ..index import identity
from ..layout import Phase, StepKind
from .naive import StepRecord

COLD_STOP_ENTROPY = tl.constexpr(layout.COLD_STOP_ENTROPY)
COLD_STOP_STEPS = tl.constexpr(layout.COLD_STOP_STEPS)
MAX_THINKING_TOKENS = tl.constexpr(layout.MAX_THINKING_TOKENS)
THINK_START = tl.constexpr(layout.THINK_START)
THINK_END = tl.constexpr(layout.THINK_END)
METHOD_COLUMN = tl.constexpr(layout.METHOD)
EOS_COLUMN = tl.constexpr(layout.EOS)
EOS_COLUMNS = tl.constexpr(layout.EOS_COLUMNS)
PHASE = tl.constexpr(layout.PHASE)
LOW_ENTROPY_STEPS = tl.constexpr(layout.LOW_ENTROPY_STEPS)
THINK_STEP = tl.constexpr(layout.THINK_STEP)

KIND = tl.constexpr(layout.KIND)
TOKEN = tl.constexpr(layout.TOKEN)
LOW_ENTROPY = tl.constexpr(layout.LOW_ENTROPY)
ENTROPY = tl.constexpr(layout.ENTROPY)
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

WARPS, OFFSET_WARPS = 1, 4
OFFSETS = tl.constexpr(1024)
"""Elements of an embedding offset that a program copies."""
WIDTH = tl.constexpr(32)
"""Columns that one round of a loop over a row's columns copies."""


@triton.jit(do_not_specialize=range(25))
def finish_step_kernel(
    ids_ptr,  # [A, k]
    weights_ptr,  # [A, k] float32
    token_ptr,  # [A], any stride
    entropy_ptr,  # [A] float32
    logits_ptr,  # [N, V]
    index_ptr,  # [A] row of the batch
    ints_ptr,  # [A, 20] int32
    floats_ptr,  # [A, 4] float32
    force_end_ptr,  # [A] int8, read if has_force_end
    state_ptr,  # [A, S] float32
    packed_ptr,  # [A, 4 + 2k + S] int32
    has_force_end,
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
    packed_stride,
):
    a = tl.program_id(0).to(tl.int64)
    n = tl.load(index_ptr + a)
    ints = ints_ptr + a * ints_stride
    if (method >= 0) & (tl.load(ints + METHOD_COLUMN) != method):
        return
    think_end = tl.load(ints + THINK_END)
    token = tl.load(token_ptr + a * token_stride).to(tl.int32)
    entropy = tl.load(entropy_ptr + a)
    confident = entropy < tl.load(floats_ptr + a * floats_stride + COLD_STOP_ENTROPY)
    low = tl.where(confident, tl.load(ints + LOW_ENTROPY_STEPS) + 1, 0)
    allowed = tl.load(logits_ptr + n * logits_stride + think_end).to(tl.float32) > float("-inf")

    bound = tl.load(ints + THINK_STEP) >= tl.load(ints + MAX_THINKING_TOKENS)
    kind = tl.where(bound, MAX_TOKENS, CONCEPT)
    kind = tl.where(low >= tl.load(ints + COLD_STOP_STEPS), COLD_STOP, kind)
    force_end = tl.load(force_end_ptr + a, mask=has_force_end != 0, other=0)
    kind = tl.where(force_end != 0, METHOD, kind)
    for i in tl.static_range(EOS_COLUMNS):
        kind = tl.where(token == tl.load(ints + EOS_COLUMN + i), EOS, kind)
    kind = tl.where(allowed, kind, CONCEPT)
    kind = tl.where(token == think_end, STOP_TOKEN, kind)
    token = tl.where(kind == CONCEPT, token, think_end)
    kind = tl.where(tl.load(ints + PHASE) == THINK, kind, PLAIN)

    packed = packed_ptr + a * packed_stride
    tl.store(packed + KIND, kind)
    tl.store(packed + TOKEN, token)
    tl.store(packed + LOW_ENTROPY, low)
    tl.store(packed + ENTROPY, entropy.to(tl.int32, bitcast=True))
    for first in range(0, k, WIDTH):
        slot = first + tl.arange(0, WIDTH)
        ids = tl.load(ids_ptr + a * ids_stride + slot, mask=slot < given, other=0)
        weights = tl.load(weights_ptr + a * weights_stride + slot, mask=slot < given, other=0.0)
        tl.store(packed + HEAD + slot, ids.to(tl.int32), mask=slot < k)
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


@triton.jit(do_not_specialize=range(18))
def update_pool_kernel(
    packed_ptr,  # [A, 4 + 2k + S] int32
    tokens_ptr,  # [N], any stride
    index_ptr,  # [A] row of the batch
    before_ptr,  # [A, 20] int32
    rows_ptr,  # [A]
    ids_ptr,  # [R, >= k] int32
    weights_ptr,  # [R, >= k] float32
    ints_ptr,  # [R, 20] int32
    state_ptr,  # [R, >= S] float32
    k,
    S,
    packed_stride,
    tokens_stride,
    before_stride,
    ids_stride,
    weights_stride,
    ints_stride,
    state_stride,
):
    a = tl.program_id(0).to(tl.int64)
    n = tl.load(index_ptr + a)
    row = tl.load(rows_ptr + a).to(tl.int64)
    packed = packed_ptr + a * packed_stride
    kind = tl.load(packed + KIND)
    concept = kind == CONCEPT
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
    waiting = tl.load(before + PHASE) == WAIT
    token = tl.load(tokens_ptr + n * tokens_stride).to(tl.int64)
    starts = waiting & (token == tl.load(before + THINK_START).to(tl.int64))
    tl.store(ints + PHASE, tl.where(starts, THINK, ANSWER), mask=starts | (kind > CONCEPT))
    tl.store(ints + LOW_ENTROPY_STEPS, tl.load(packed + LOW_ENTROPY), mask=thinking)
    tl.store(ints + THINK_STEP, tl.load(before + THINK_STEP) + 1, mask=concept)


@triton.jit(do_not_specialize=range(11))
def write_offsets_kernel(
    packed_ptr,  # [A, 4 + 2k + S] int32
    offsets_ptr,  # [A, H]
    ints_ptr,  # [A, 20] int32
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
    ids, weights, token, entropy, logits, ints, floats, *, force_end=None, state=None, index=None,
    k=None, states=None, into=None, method=-1,
):  # fmt: skip
    """`token` may have any stride; the last dimension of the others is contiguous."""
    A, k = len(ids), ids.shape[1] if k is None else k
    given_S = 0 if state is None else state.shape[1]
    S = given_S if states is None else states
    last = [ids, weights, entropy, logits, ints, floats]
    last += [x for x in (force_end, state) if x is not None]
    assert all(x.stride(-1) == 1 for x in last if x.shape[-1] > 1)
    assert weights.dtype == entropy.dtype == floats.dtype == torch.float32
    assert ints.dtype == torch.int32
    columns = layout.record_columns(k, S)
    if into is None:
        packed = torch.empty((A, columns), dtype=torch.int32, device=ids.device)
        into, method = StepRecord(packed, k), -1
    packed = into.packed
    assert packed.shape == (A, columns), "a record of another step"
    if A == 0:
        return into
    index = identity(A, ids.device) if index is None else index
    flags = (packed if force_end is None else force_end).view(torch.int8)
    if state is None:
        state = floats  # not read
    finish_step_kernel[(A,)](
        ids, weights, token, entropy, logits, index, ints, floats, flags, state, packed,
        int(force_end is not None), k, S, min(k, ids.shape[1]), min(S, given_S), method,
        ids.stride(0), weights.stride(0), token.stride(0),
        state.stride(0), logits.stride(0), ints.stride(0), floats.stride(0), packed.stride(0),
        num_warps=WARPS,
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
    record, tokens, ints, rows, pool_ids, pool_weights, pool_ints, pool_state, index=None
):
    packed, k = record
    S = packed.shape[1] - layout.record_columns(k, 0)
    contiguous = (ints, pool_ids, pool_weights, pool_ints, pool_state)
    assert all(x.stride(1) == 1 for x in contiguous if x.shape[1] > 1)
    assert rows.stride(0) == 1 or len(rows) <= 1
    if len(packed) == 0:
        return
    index = identity(len(packed), packed.device) if index is None else index
    update_pool_kernel[(len(packed),)](
        packed, tokens, index, ints, rows, pool_ids, pool_weights, pool_ints, pool_state, k, S,
        packed.stride(0), tokens.stride(0), ints.stride(0), pool_ids.stride(0),
        pool_weights.stride(0), pool_ints.stride(0), pool_state.stride(0), num_warps=WARPS,
    )  # fmt: skip
