"""Thinking in hidden states, one Triton launch each; `naive` is the specification.

One program a row. A row's sum runs in blocks of a fixed size, so it has the same bits in every
batch. Nothing that varies between batches is a compile-time value.
"""

import torch
import triton
import triton.language as tl

from .. import layout
from . import naive
from .naive import Latent

BLOCK = tl.constexpr(1024)
LEAST = tl.constexpr(naive.LEAST)
TOKENS = tl.constexpr(naive.TOKENS)
ENTROPY = tl.constexpr(naive.ENTROPY)
STOP = tl.constexpr(naive.STOP)
THINK_STEP = tl.constexpr(layout.THINK_STEP)

WARPS = 4


@triton.jit(do_not_specialize=range(8))
def match_norm_kernel(
    hidden_ptr,  # [A, H]
    used_ptr,  # [A] int8
    out_ptr,  # [A, H]
    norm,
    has_used,
    H,
    hidden_stride,
    out_stride,
):
    a = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, BLOCK)
    hidden, out = hidden_ptr + a * hidden_stride, out_ptr + a * out_stride
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, H, BLOCK):
        at = start + lane
        x = tl.load(hidden + at, mask=at < H, other=0.0).to(tl.float32)
        total += x * x
    length = tl.maximum(tl.sqrt(tl.sum(total, axis=0)), LEAST)
    used = tl.load(used_ptr + a, mask=has_used != 0, other=1) != 0
    for start in range(0, H, BLOCK):
        at = start + lane
        x = tl.load(hidden + at, mask=at < H, other=0.0).to(tl.float32)
        x = tl.where(used, x * (norm / length), 0.0)
        tl.store(out + at, x.to(out_ptr.dtype.element_ty), mask=at < H)


@triton.jit(do_not_specialize=range(16))
def leave_latent_kernel(
    entropy_ptr,  # [A] float32
    state_ptr,  # [A, 1] float32
    args_ptr,  # [A, >= 3] float32
    ints_ptr,  # [A, 28] int32
    top_ptr,  # [A] int32
    drawn_ptr,  # [A] int32
    stops_ptr,  # [V] int8
    latent_ptr,  # [A] int8
    ids_ptr,  # [A, 1] int32
    weights_ptr,  # [A, 1] float32
    after_ptr,  # [A, 1] float32
    state_stride,
    args_stride,
    ints_stride,
    top_stride,
    drawn_stride,
):
    a = tl.program_id(0).to(tl.int64)
    args = args_ptr + a * args_stride
    step = tl.load(ints_ptr + a * ints_stride + THINK_STEP)
    top, drawn = tl.load(top_ptr + a * top_stride), tl.load(drawn_ptr + a * drawn_stride)
    at_token = (tl.load(stops_ptr + top) != 0) & (tl.load(args + STOP) == 0)
    unsure = tl.load(entropy_ptr + a) > tl.load(args + ENTROPY)
    leaves = (step > 0) & (unsure | at_token)
    latent = (tl.load(state_ptr + a * state_stride) == 1) & (leaves == 0)
    latent = latent & (step.to(tl.float32) < tl.load(args + TOKENS))
    share = tl.where(latent, 1.0, 0.0)
    tl.store(latent_ptr + a, latent.to(tl.int8))
    tl.store(ids_ptr + a, tl.where(latent, top, drawn))
    tl.store(weights_ptr + a, 1 - share)
    tl.store(after_ptr + a, share)


def match_norm(hidden, norm, dtype, used=None):
    A, H = hidden.shape
    assert hidden.is_floating_point() and (hidden.stride(1) == 1 or H == 1)
    out = torch.empty((A, H), dtype=dtype, device=hidden.device)
    if A:
        flags = (hidden if used is None else used).view(torch.int8)
        match_norm_kernel[(A,)](
            hidden, flags, out, float(norm), int(used is not None), H, hidden.stride(0),
            out.stride(0), num_warps=WARPS,
        )  # fmt: skip
    return out


def leave_latent(entropy, state, args, ints, top, drawn, stops):
    A, device = len(entropy), entropy.device
    assert args.shape[1] > naive.STOP and args.stride(1) == 1
    out = Latent(
        torch.empty(A, dtype=torch.bool, device=device),
        torch.empty((A, 1), dtype=torch.int32, device=device),
        torch.empty((A, 1), device=device), torch.empty((A, 1), device=device),
    )  # fmt: skip
    if A:
        leave_latent_kernel[(A,)](
            entropy, state, args, ints, top, drawn, stops.view(torch.int8),
            out.latent.view(torch.int8), *out[1:], state.stride(0), args.stride(0), ints.stride(0),
            top.stride(0), drawn.stride(0), num_warps=1,
        )  # fmt: skip
    return out
