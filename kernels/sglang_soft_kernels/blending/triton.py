"""The methods' arithmetic over a row's slots, one Triton launch each; `naive` is the specification.

One program a row, always 64 lanes wide: sums have a fixed order, so a row has the same bits in
every batch. What varies between batches (k, strides, which parts a method uses) is no compile-time
value, so each kernel has one variant. Slots are ordered by counting those that come before.
"""

import torch
import triton
import triton.language as tl

from .. import layout
from ..index import ones
from . import naive
from .naive import Composed, Gated, Switched

SLOTS = tl.constexpr(layout.MAX_SLOTS)
THINK_STEP = tl.constexpr(layout.THINK_STEP)
MAX_NEW_TOKENS = tl.constexpr(layout.MAX_NEW_TOKENS)
THINK_START = tl.constexpr(layout.THINK_START)
THINK_END = tl.constexpr(layout.THINK_END)

LATENT = tl.constexpr(naive.LATENT)
REFERENCE = tl.constexpr(naive.REFERENCE)
AGE = tl.constexpr(naive.AGE)
SWITCHES = tl.constexpr(naive.SWITCHES)
STARTED = tl.constexpr(naive.STARTED)
STATES = tl.constexpr(5)
WINDOW = tl.constexpr(naive.WINDOW)
ALPHA = tl.constexpr(naive.ALPHA)
BETA = tl.constexpr(naive.BETA)
MAX_SWITCHES = tl.constexpr(naive.MAX_SWITCHES)
FIRST_SHARE = tl.constexpr(naive.FIRST_SHARE)
FIRST_TOKEN = tl.constexpr(naive.FIRST_TOKEN)
BLEND = tl.constexpr(naive.BLEND)
ALONE = tl.constexpr(naive.ALONE)
LATENT_ABOVE = tl.constexpr(naive.LATENT_ABOVE)
EXPLICIT_BELOW = tl.constexpr(naive.EXPLICIT_BELOW)
THRESHOLD = tl.constexpr(naive.THRESHOLD)
CONTRAST = tl.constexpr(naive.CONTRAST)
SELAR_ALONE = tl.constexpr(naive.SELAR_ALONE)

WARPS = 4


@triton.jit
def place(weights, tie):
    """Where each slot goes: by weight descending, then by `tie` (all different) ascending, unused
    ones last."""
    key = tl.where(weights == 0, float("-inf"), weights)
    own, other = key[:, None], key[None, :]
    before = (other > own) | ((other == own) & (tie[None, :] < tie[:, None]))
    return tl.sum(before.to(tl.int32), axis=1)


@triton.jit(do_not_specialize=range(29))
def compose_kernel(
    ids_ptr,  # [A, k] int32
    scores_ptr,  # [A, k] float32
    max_topk_ptr,  # [A], any stride, as are temperature, drawn, shown, token and share
    temperature_ptr,
    soft_ptr,  # [A] int8
    guarded_ptr,  # [A] int8
    alone_ptr,  # [V] int8
    drawn_ptr,
    shown_ptr,
    token_ptr,
    share_ptr,
    out_ids_ptr,  # [A, width] int32
    out_weights_ptr,  # [A, width] float32
    output_token_ptr,  # [A] int32
    k,
    width,
    is_softmax,
    has_soft,
    has_alone,
    has_token,
    blend_drawn,
    ids_stride,
    scores_stride,
    max_topk_stride,
    temperature_stride,
    drawn_stride,
    shown_stride,
    token_stride,
    share_stride,
):
    a = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, SLOTS)
    used = lane < tl.minimum(tl.load(max_topk_ptr + a * max_topk_stride), k)
    ids = tl.load(ids_ptr + a * ids_stride + lane, mask=lane < k, other=0)
    scores = tl.load(scores_ptr + a * scores_stride + lane, mask=lane < k, other=0.0)
    e = tl.where(used, scores, 0.0)
    if is_softmax != 0:
        temperature = tl.load(temperature_ptr + a * temperature_stride)
        x = tl.where(used, scores / temperature, float("-inf"))
        e = tl.exp(x - tl.max(x, axis=0))
    weights = e / tl.sum(e, axis=0)

    soft = tl.load(soft_ptr + a, mask=has_soft != 0, other=1) != 0
    drawn = tl.load(drawn_ptr + a * drawn_stride)
    kept = tl.load(guarded_ptr + a, mask=has_alone != 0, other=0) != 0
    kept = kept & (tl.load(alone_ptr + drawn, mask=has_alone != 0, other=0) != 0)
    soft = soft & (kept == 0)
    weights = tl.where(soft, weights, tl.where(lane == 0, 1.0, 0.0))
    first = tl.load(ids_ptr + a * ids_stride)
    shown = tl.load(shown_ptr + a * shown_stride) != 0
    tl.store(output_token_ptr + a, tl.where(soft & shown, first, drawn))
    ids = tl.where(soft | (lane > 0), ids, drawn)

    if has_token != 0:
        token = tl.load(token_ptr + a * token_stride)
        share = tl.load(share_ptr + a * share_stride)
        share = tl.where((soft | (blend_drawn != 0)) & (kept == 0), share, 1.0)
        here = (ids == token) & (weights != 0)
        missing = tl.sum(here.to(tl.int32), axis=0) == 0
        weights = weights * share + tl.where(here | (missing & (lane == k)), 1 - share, 0.0)
        ids = tl.where(lane == k, token, ids)
    at = place(weights, lane)
    tl.store(out_ids_ptr + a * width + at, ids, mask=lane < width)
    tl.store(out_weights_ptr + a * width + at, weights, mask=lane < width)


@triton.jit
def entropy_of_row(probs, max_topk, k):
    """Normalised entropy of one row. probs, max_topk: pointers to its values."""
    lane = tl.arange(0, SLOTS)
    p = tl.load(probs + lane, mask=lane < k, other=0.0)
    entropy = -tl.sum(tl.where(p > 0, p * tl.log(tl.where(p > 0, p, 1.0)), 0.0), axis=0)
    size = tl.load(max_topk)
    most = tl.log(tl.maximum(size, 2).to(tl.float32))
    return tl.where(size > 1, entropy / most, 0.0)


@triton.jit(do_not_specialize=range(6))
def normalised_entropy_kernel(
    probs_ptr,  # [A, k] float32
    max_topk_ptr,  # [A]
    out_ptr,  # [A] float32
    k,
    probs_stride,
    max_topk_stride,
):
    a = tl.program_id(0).to(tl.int64)
    h = entropy_of_row(probs_ptr + a * probs_stride, max_topk_ptr + a * max_topk_stride, k)
    tl.store(out_ptr + a, h)


@triton.jit(do_not_specialize=range(10))
def gate_by_entropy_kernel(
    probs_ptr,  # [A, k] float32
    max_topk_ptr,  # [A]
    args_ptr,  # [A, >= 3] float32
    soft_ptr,  # [A] int8
    guarded_ptr,  # [A] int8
    share_ptr,  # [A] float32
    k,
    probs_stride,
    max_topk_stride,
    args_stride,
):
    a = tl.program_id(0).to(tl.int64)
    h = entropy_of_row(probs_ptr + a * probs_stride, max_topk_ptr + a * max_topk_stride, k)
    args = args_ptr + a * args_stride
    tl.store(soft_ptr + a, (h >= tl.load(args + THRESHOLD)).to(tl.int8))
    tl.store(guarded_ptr + a, (tl.load(args + SELAR_ALONE) == 0).to(tl.int8))
    tl.store(share_ptr + a, 1 + tl.load(args + CONTRAST) * h)


@triton.jit(do_not_specialize=range(13))
def merge_draws_kernel(
    ids_ptr,  # [A, n] int32
    ranks_ptr,  # [A, n] int32
    probs_ptr,  # [A, n] float32
    counts_ptr,  # [A], any stride, as is the next
    by_probability_ptr,
    out_ids_ptr,  # [A, n] int32
    out_weights_ptr,  # [A, n] float32
    n,
    ids_stride,
    ranks_stride,
    probs_stride,
    counts_stride,
    by_probability_stride,
):
    a = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, SLOTS)
    there = lane < n
    counted = lane < tl.minimum(tl.load(counts_ptr + a * counts_stride), n)
    ids = tl.load(ids_ptr + a * ids_stride + lane, mask=there, other=0)
    ranks = tl.load(ranks_ptr + a * ranks_stride + lane, mask=there, other=0)
    probs = tl.load(probs_ptr + a * probs_stride + lane, mask=there, other=0.0)
    ranks = tl.where(counted, ranks, -1 - lane)  # equal to no other
    same = ranks[:, None] == ranks[None, :]
    repeated = tl.sum((same & (lane[None, :] < lane[:, None])).to(tl.int32), axis=1) > 0
    often = tl.sum(same.to(tl.int32), axis=1).to(tl.float32)
    by_probability = tl.load(by_probability_ptr + a * by_probability_stride) == 1
    weights = tl.where(by_probability, often * probs, often)
    weights = tl.where(counted & (repeated == 0), weights, 0.0)
    weights = weights / tl.sum(weights, axis=0)
    # Unused ones: in the order of their lanes, after all ranks.
    at = place(weights, tl.where(weights == 0, lane + 0x40000000, ranks))
    tl.store(out_ids_ptr + a * n + at, ids, mask=there)
    tl.store(out_weights_ptr + a * n + at, weights, mask=there)


@triton.jit(do_not_specialize=range(13))
def switch_modes_kernel(
    entropy_ptr,  # [A] float32
    state_ptr,  # [A, 5] float32
    args_ptr,  # [A, >= 11] float32
    ints_ptr,  # [A, 28] int32
    after_ptr,  # [A, 5] float32
    soft_ptr,  # [A] int8
    guarded_ptr,  # [A] int8
    force_end_ptr,  # [A] int8
    marker_ptr,  # [A] int32
    share_ptr,  # [A] float32
    state_stride,
    args_stride,
    ints_stride,
):
    a = tl.program_id(0).to(tl.int64)
    state, args, ints = (
        state_ptr + a * state_stride, args_ptr + a * args_stride, ints_ptr + a * ints_stride
    )  # fmt: skip
    entropy = tl.load(entropy_ptr + a)
    was_latent, started = tl.load(state + LATENT) == 1, tl.load(state + STARTED) == 1
    reference = tl.where(started, tl.load(state + REFERENCE), entropy)
    age = tl.where(started, tl.load(state + AGE) + 1, 0.0)
    switches = tl.load(state + SWITCHES)
    sure = entropy < tl.load(args + EXPLICIT_BELOW)
    to_explicit = started & was_latent & (reference > entropy) & sure
    waited = (age >= tl.load(args + WINDOW)) & (entropy > tl.load(args + LATENT_ABOVE))
    explicit = started & (was_latent == 0)
    to_latent = explicit & (reference < entropy) & waited
    force_end = explicit & (age == 1) & (switches >= tl.load(args + MAX_SWITCHES))
    switched = to_explicit | to_latent
    latent = (was_latent & (to_explicit == 0)) | to_latent
    after = after_ptr + a * STATES
    tl.store(after + LATENT, tl.where(latent, 1.0, 0.0))
    tl.store(after + REFERENCE, tl.where(switched, entropy, reference))
    tl.store(after + AGE, tl.where(switched, 0.0, age))
    tl.store(after + SWITCHES, switches + tl.where(to_explicit, 1.0, 0.0))
    tl.store(after + STARTED, 1.0)
    soft = latent | (to_explicit & (tl.load(args + BLEND) == 0))
    tl.store(soft_ptr + a, soft.to(tl.int8))
    tl.store(guarded_ptr + a, (latent & (tl.load(args + ALONE) == 0)).to(tl.int8))
    tl.store(force_end_ptr + a, force_end.to(tl.int8))
    start = tl.where(to_latent, tl.load(args + ALPHA), tl.load(args + BETA))
    progress = tl.load(ints + THINK_STEP).to(tl.float32)
    progress = progress / tl.load(ints + MAX_NEW_TOKENS).to(tl.float32)
    share = tl.minimum(start + (1 - start) * progress, 1.0)
    share = tl.where(switched, share, 1.0)
    marker = tl.where(to_latent, tl.load(ints + THINK_START), tl.load(ints + THINK_END))
    token = tl.load(args + FIRST_TOKEN)
    first = (started == 0) & (token < float("inf"))
    tl.store(share_ptr + a, tl.where(first, tl.load(args + FIRST_SHARE), share))
    tl.store(marker_ptr + a, tl.where(first, tl.where(first, token, 0.0).to(tl.int32), marker))


def _empty(like, *shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device=like.device)


def _check_rows(*tensors):
    assert all(x.shape[1] <= SLOTS.value for x in tensors), "too many slots"
    assert all(x.stride(1) == 1 or x.shape[1] == 1 for x in tensors)


def compose(
    ids, scores, max_topk, *, softmax=False, temperature=None, soft=None, drawn=None, shown=None,
    alone=None, guarded=None, token=None, share=None, blend_drawn=True,
):  # fmt: skip
    A, k = ids.shape
    _check_rows(ids, scores)
    assert ids.dtype == torch.int32 and scores.dtype == torch.float32
    width = k if token is None else min(k + 1, SLOTS.value)
    out = Composed(
        _empty(ids, A, width, dtype=torch.int32), _empty(ids, A, width),
        _empty(ids, A, dtype=torch.int32),
    )  # fmt: skip
    if A == 0:
        return out
    # In place of what is not used.
    flags, guards, members = (
        (ids if x is None else x).view(torch.int8) for x in (soft, guarded, alone)
    )
    one = ones(A, ids.device)[:, 0]
    drawn, marker = (max_topk if x is None else x for x in (drawn, token))
    temperature, part, shown = (one if x is None else x for x in (temperature, share, shown))
    columns = (max_topk, temperature, drawn, shown, marker, part)
    compose_kernel[(A,)](
        ids, scores, max_topk, temperature, flags, guards, members, drawn, shown, marker, part,
        *out, k, width, int(softmax), int(soft is not None), int(alone is not None),
        int(token is not None), int(blend_drawn), ids.stride(0), scores.stride(0),
        *(x.stride(0) for x in columns), num_warps=WARPS,
    )  # fmt: skip
    return out


def normalised_entropy(probs, max_topk):
    out = _empty(probs, len(probs))
    _check_rows(probs)
    if len(probs):
        normalised_entropy_kernel[(len(probs),)](
            probs, max_topk, out, probs.shape[1], probs.stride(0), max_topk.stride(0), num_warps=1
        )
    return out


def gate_by_entropy(probs, max_topk, args):
    A = len(probs)
    _check_rows(probs, args)
    soft, guarded = (_empty(probs, A, dtype=torch.bool) for _ in range(2))
    out = Gated(soft, guarded, _empty(probs, A))
    if A:
        gate_by_entropy_kernel[(A,)](
            probs, max_topk, args, soft.view(torch.int8), guarded.view(torch.int8), out.share,
            probs.shape[1], *(x.stride(0) for x in (probs, max_topk, args)), num_warps=1,
        )  # fmt: skip
    return out


def merge_draws(ids, ranks, probs, counts, by_probability):
    A, n = ids.shape
    _check_rows(ids, ranks, probs)
    out = _empty(ids, A, n, dtype=torch.int32), _empty(ids, A, n)
    if A:
        inputs = ids, ranks, probs, counts, by_probability
        merge_draws_kernel[(A,)](*inputs, *out, n, *(x.stride(0) for x in inputs), num_warps=WARPS)
    return out


def switch_modes(entropy, state, args, ints):
    A = len(entropy)
    _check_rows(state, args, ints)
    assert state.shape[1] >= STATES.value and args.shape[1] > naive.EXPLICIT_BELOW
    flags = soft, guarded, force_end = [_empty(state, A, dtype=torch.bool) for _ in range(3)]
    out = Switched(
        _empty(state, A, STATES.value), soft, guarded, force_end,
        _empty(state, A, dtype=torch.int32), _empty(state, A),
    )  # fmt: skip
    if A:
        switch_modes_kernel[(A,)](
            entropy, state, args, ints, out.state, *(x.view(torch.int8) for x in flags),
            out.marker, out.share, state.stride(0), args.stride(0), ints.stride(0), num_warps=1,
        )  # fmt: skip
    return out
