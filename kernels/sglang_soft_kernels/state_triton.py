"""A step's decisions and the rows' next state, one Triton launch each; `state_reference` is the
specification.

One program a row. What varies between batches (K, S, strides) is not a compile-time value: a server
would meet new ones all the time, and there is nothing to win in programs of one row.
"""

import torch
import triton
import triton.language as tl

from . import layout
from .layout import Phase, Step
from .state_reference import StepRecord

COLD_ENTROPY = tl.constexpr(layout.COLD_ENTROPY)
COLD_STEPS = tl.constexpr(layout.COLD_STEPS)
BOUND = tl.constexpr(layout.BOUND)
THINK_START = tl.constexpr(layout.THINK_START)
THINK_END = tl.constexpr(layout.THINK_END)
PHASE = tl.constexpr(layout.PHASE)
LOW = tl.constexpr(layout.LOW)
THOUGHT = tl.constexpr(layout.THOUGHT)

WAITS = tl.constexpr(int(Phase.WAIT))
THINKS = tl.constexpr(int(Phase.THINK))
ANSWERS = tl.constexpr(int(Phase.ANSWER))

PLAIN = tl.constexpr(int(Step.PLAIN))
CONCEPT = tl.constexpr(int(Step.CONCEPT))
NATURAL_END = tl.constexpr(int(Step.THINK_END))
COLD_STOP = tl.constexpr(int(Step.COLD_STOP))
BOUND_STOP = tl.constexpr(int(Step.BOUND))
METHOD_STOP = tl.constexpr(int(Step.METHOD))

WARPS = 1


@triton.jit(
    do_not_specialize=[
        "K", "S", "ids_stride", "weights_stride", "token_stride", "state_stride", "logits_stride", "ints_stride",
        "floats_stride", "packed_stride",
    ]
)  # fmt: skip
def decide_kernel(
    ids_ptr,  # [B, K]
    weights_ptr,  # [B, K] float32
    token_ptr,  # [B], any stride
    entropy_ptr,  # [B] float32
    logits_ptr,  # [B, V]
    ints_ptr,  # [B, C] int32
    floats_ptr,  # [B, 4] float32
    conclude_ptr,  # [B] int8, read if CONCLUDE
    state_ptr,  # [B, S] float32
    packed_ptr,  # [B, 2K + 4 + S] int32
    K,
    S,
    ids_stride,
    weights_stride,
    token_stride,
    state_stride,
    logits_stride,
    ints_stride,
    floats_stride,
    packed_stride,
    CONCLUDE: tl.constexpr,
    SLOTS: tl.constexpr,
    STATES: tl.constexpr,
):
    b = tl.program_id(0).to(tl.int64)
    ints = ints_ptr + b * ints_stride
    think_end = tl.load(ints + THINK_END)
    token = tl.load(token_ptr + b * token_stride).to(tl.int32)
    entropy = tl.load(entropy_ptr + b)
    low = tl.where(
        entropy < tl.load(floats_ptr + b * floats_stride + COLD_ENTROPY), tl.load(ints + LOW) + 1, 0
    )
    allowed = tl.load(logits_ptr + b * logits_stride + think_end).to(tl.float32) > float("-inf")

    kind = tl.where(tl.load(ints + THOUGHT) >= tl.load(ints + BOUND), BOUND_STOP, CONCEPT)
    kind = tl.where(low >= tl.load(ints + COLD_STEPS), COLD_STOP, kind)
    if CONCLUDE:
        kind = tl.where(tl.load(conclude_ptr + b) != 0, METHOD_STOP, kind)
    kind = tl.where(allowed, kind, CONCEPT)
    kind = tl.where(token == think_end, NATURAL_END, kind)
    token = tl.where(kind == CONCEPT, token, think_end)
    kind = tl.where(tl.load(ints + PHASE) == THINKS, kind, PLAIN)

    packed = packed_ptr + b * packed_stride
    k = tl.arange(0, SLOTS)
    ids = tl.load(ids_ptr + b * ids_stride + k, mask=k < K, other=0).to(tl.int32)
    weights = tl.load(weights_ptr + b * weights_stride + k, mask=k < K, other=0.0)
    tl.store(packed + k, ids, mask=k < K)
    tl.store(packed + K + k, weights.to(tl.int32, bitcast=True), mask=k < K)
    tail = packed + 2 * K
    tl.store(tail, entropy.to(tl.int32, bitcast=True))
    tl.store(tail + 1, kind)
    tl.store(tail + 2, low)
    tl.store(tail + 3, token)
    s = tl.arange(0, STATES)
    state = tl.load(state_ptr + b * state_stride + s, mask=s < S, other=0.0)
    tl.store(tail + 4 + s, state.to(tl.int32, bitcast=True), mask=s < S)


@triton.jit(do_not_specialize=["K", "packed_stride", "tokens_stride"])
def merge_kernel(packed_ptr, tokens_ptr, K, packed_stride, tokens_stride):
    b = tl.program_id(0).to(tl.int64)
    tail = packed_ptr + b * packed_stride + 2 * K
    thinking = tl.load(tail + 1) != PLAIN
    token = tl.load(tail + 3).to(tokens_ptr.dtype.element_ty)
    tl.store(tokens_ptr + b * tokens_stride, token, mask=thinking)


@triton.jit(
    do_not_specialize=[
        "K", "S", "packed_stride", "tokens_stride", "before_stride", "ids_stride", "weights_stride", "ints_stride",
        "state_stride",
    ]
)  # fmt: skip
def advance_kernel(
    packed_ptr,  # [B, 2K + 4 + S] int32
    tokens_ptr,  # [B], any stride
    before_ptr,  # [B, C] int32
    rows_ptr,  # [B]
    ids_ptr,  # [R, >= K] int32
    weights_ptr,  # [R, >= K] float32
    ints_ptr,  # [R, C] int32
    state_ptr,  # [R, >= S] float32
    K,
    S,
    packed_stride,
    tokens_stride,
    before_stride,
    ids_stride,
    weights_stride,
    ints_stride,
    state_stride,
    SLOTS: tl.constexpr,
    STATES: tl.constexpr,
):
    b = tl.program_id(0).to(tl.int64)
    row = tl.load(rows_ptr + b).to(tl.int64)
    packed = packed_ptr + b * packed_stride
    tail = packed + 2 * K
    kind = tl.load(tail + 1)
    concept = kind == CONCEPT
    thinking = kind != PLAIN

    k = tl.arange(0, SLOTS)
    tl.store(ids_ptr + row * ids_stride + k, tl.load(packed + k, mask=k < K, other=0), mask=k < K)
    weights = tl.load(packed + K + k, mask=(k < K) & concept, other=0).to(tl.float32, bitcast=True)
    tl.store(weights_ptr + row * weights_stride + k, weights, mask=k < K)
    s = tl.arange(0, STATES)
    written = (s < S) & thinking
    state = tl.load(tail + 4 + s, mask=written, other=0).to(tl.float32, bitcast=True)
    tl.store(state_ptr + row * state_stride + s, state, mask=written)

    before, ints = before_ptr + b * before_stride, ints_ptr + row * ints_stride
    waiting = tl.load(before + PHASE) == WAITS
    token = tl.load(tokens_ptr + b * tokens_stride).to(tl.int64)
    starts = waiting & (token == tl.load(before + THINK_START).to(tl.int64))
    tl.store(ints + PHASE, tl.where(starts, THINKS, ANSWERS), mask=starts | (kind > CONCEPT))
    tl.store(ints + LOW, tl.load(tail + 2), mask=thinking)
    tl.store(ints + THOUGHT, tl.load(before + THOUGHT) + 1, mask=concept)


def launch_config(K: int, S: int) -> dict[str, int]:
    """Compile-time sizes of `decide_kernel` and `advance_kernel`."""
    slots, states = triton.next_power_of_2(K), triton.next_power_of_2(max(1, S))
    return {"SLOTS": slots, "STATES": states, "num_warps": WARPS}


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
    """See `state_reference.decide`. `token` may have any stride; the last dimension of the others
    is contiguous."""
    B, K = ids.shape
    S = 0 if state is None else state.shape[1]
    last = [
        ids,
        weights,
        entropy,
        logits,
        ints,
        floats,
        *[x for x in (conclude, state) if x is not None],
    ]
    assert all(x.stride(-1) == 1 for x in last if x.shape[-1] > 1)
    assert (
        weights.dtype == entropy.dtype == floats.dtype == torch.float32
        and ints.dtype == torch.int32
    )
    packed = torch.empty((B, 2 * K + 4 + S), dtype=torch.int32, device=ids.device)
    if B == 0:
        return StepRecord(packed, K)
    flags = floats if conclude is None else conclude.view(torch.int8)
    if state is None:
        state = floats  # not read
    decide_kernel[(B,)](
        ids, weights, token, entropy, logits, ints, floats, flags, state, packed,
        K, S, ids.stride(0), weights.stride(0), token.stride(0), state.stride(0), logits.stride(0), ints.stride(0),
        floats.stride(0), packed.stride(0), CONCLUDE=conclude is not None, **launch_config(K, S),
    )  # fmt: skip
    return StepRecord(packed, K)


def merge(record: StepRecord, tokens: torch.Tensor) -> None:
    """See `state_reference.merge`."""
    packed = record.packed
    if len(packed):
        merge_kernel[(len(packed),)](
            packed, tokens, record.K, packed.stride(0), tokens.stride(0), num_warps=WARPS
        )  # fmt: skip


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
    """See `state_reference.advance`."""
    packed, K = record
    S = packed.shape[1] - 2 * K - 4
    assert all(
        x.stride(1) == 1
        for x in (ints, pool_ids, pool_weights, pool_ints, pool_state)
        if x.shape[1] > 1
    )
    assert rows.stride(0) == 1 or len(rows) <= 1
    if len(packed) == 0:
        return
    advance_kernel[(len(packed),)](
        packed, tokens, ints, rows, pool_ids, pool_weights, pool_ints, pool_state,
        K, S, packed.stride(0), tokens.stride(0), ints.stride(0), pool_ids.stride(0), pool_weights.stride(0),
        pool_ints.stride(0), pool_state.stride(0), **launch_config(K, S),
    )  # fmt: skip
