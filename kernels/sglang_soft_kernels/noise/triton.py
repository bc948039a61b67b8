"""Noise and the start of a step, one Triton launch each; `naive` is the specification.

What varies between batches is no compile-time value; only the lanes' dtype makes variants.
"""

import torch
import triton
import triton.language as tl

from .. import layout
from . import naive

GOLDEN = tl.constexpr(naive.GOLDEN)
FACTOR_0 = tl.constexpr(naive.FACTORS[0])
FACTOR_1 = tl.constexpr(naive.FACTORS[1])
SHIFT_0 = tl.constexpr(naive.SHIFTS[0])
SHIFT_1 = tl.constexpr(naive.SHIFTS[1])
SHIFT_2 = tl.constexpr(naive.SHIFTS[2])
ROUNDS = tl.constexpr(naive.ROUNDS)
TAU = tl.constexpr(6.283185307179586)
SEED = tl.constexpr(layout.SEED)
THINK_STEP = tl.constexpr(layout.THINK_STEP)

UNIFORM, GUMBEL, NORMAL = range(3)
IS_GUMBEL = tl.constexpr(GUMBEL)
IS_NORMAL = tl.constexpr(NORMAL)
LANES = tl.constexpr(128)
SLOTS = tl.constexpr(layout.MAX_SLOTS)
"""Largest concept, and largest number of draws."""
WARPS = 2


@triton.jit
def mix64(x):
    """splitmix64's finaliser of uint64."""
    x = (x ^ (x >> SHIFT_0)) * FACTOR_0
    x = (x ^ (x >> SHIFT_1)) * FACTOR_1
    return x ^ (x >> SHIFT_2)


@triton.jit
def base_of(seed, position):
    seed = seed.to(tl.uint64, bitcast=True)
    return mix64(mix64(seed) + (position.to(tl.int64) + 1).to(tl.uint64, bitcast=True) * GOLDEN)


@triton.jit
def uniform_of(base, stream, lane):
    counter = lane.to(tl.int64) + ((stream.to(tl.int64) << 32) + 1)
    bits = mix64(base + counter.to(tl.uint64, bitcast=True) * GOLDEN)
    return ((bits >> 41).to(tl.int32).to(tl.float32) + 0.5) * 1.1920928955078125e-07


@triton.jit
def cosine_of_turns(u):
    """cos(2 pi u) for u in (0, 1), as sin(2 pi (|u - 1/2| - 1/4)) by its series up to the 13th
    power. The library's cosine keeps a table in local memory for arguments that do not occur here.
    """
    y = (tl.abs(u - 0.5) - 0.25) * TAU
    z = y * y
    p = 1 - z * (1 / 156)
    p = 1 - z * (1 / 110) * p
    p = 1 - z * (1 / 72) * p
    p = 1 - z * (1 / 42) * p
    p = 1 - z * (1 / 20) * p
    p = 1 - z * (1 / 6) * p
    return y * p


@triton.jit
def normal_of(base, stream, lane):
    radius = tl.sqrt(-2 * tl.log(uniform_of(base, stream, lane)))
    return radius * cosine_of_turns(uniform_of(base, stream + 1, lane))


@triton.jit(do_not_specialize=range(10))
def noise_kernel(
    seed_ptr,  # [A] int64
    position_ptr,  # [A] int32
    lanes_ptr,  # [A, L]; a stride of 0: [L]
    out_ptr,  # [A, L] float32
    L,
    stream,
    kind,
    seed_stride,
    position_stride,
    lanes_stride,
):
    a = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * LANES + tl.arange(0, LANES)
    base = base_of(tl.load(seed_ptr + a * seed_stride), tl.load(position_ptr + a * position_stride))
    lane = tl.load(lanes_ptr + a * lanes_stride + at, mask=at < L, other=0)
    x = uniform_of(base, stream, lane)
    if kind == IS_GUMBEL:
        x = -tl.log(-tl.log(x))
    if kind == IS_NORMAL:
        x = normal_of(base, stream, lane)
    tl.store(out_ptr + a * L + at, x, mask=at < L)


@triton.jit(do_not_specialize=range(11))
def log_gamma_kernel(
    seed_ptr,  # [A] int64
    position_ptr,  # [A] int32
    shape_ptr,  # [A, L] float32
    lanes_ptr,  # [A, L]
    out_ptr,  # [A, L] float32
    L,
    stream,
    boost,
    seed_stride,
    position_stride,
    lanes_stride,
):
    a = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, SLOTS)
    base = base_of(tl.load(seed_ptr + a * seed_stride), tl.load(position_ptr + a * position_stride))
    shape = tl.load(shape_ptr + a * L + at, mask=at < L, other=0.0)
    lane = tl.load(lanes_ptr + a * lanes_stride + at, mask=at < L, other=0)
    used = shape > 0
    shape = tl.where(used, shape, 1.0)
    d = shape + 0.6666666666666667
    k = 1 / tl.sqrt(9 * d)
    accepted = shape < 0
    v = shape * 0 + 1
    for r in range(ROUNDS):
        x = normal_of(base, stream + 3 * r, lane)
        cube_root = 1 + k * x
        trial = cube_root * cube_root * cube_root
        log_trial = tl.log(tl.maximum(trial, 1e-38))
        u = uniform_of(base, stream + (3 * r + 2), lane)
        accept = (trial > 0) & (tl.log(u) < 0.5 * x * x + d - d * trial + d * log_trial)
        v = tl.where(accept & (accepted == 0), trial, v)
        accepted = accepted | accept
    result = tl.log(d * v) + tl.log(uniform_of(base, boost, lane)) / shape
    tl.store(out_ptr + a * L + at, tl.where(used, result, float("-inf")), mask=at < L)


@triton.jit(do_not_specialize=range(8))
def gather_rows_kernel(
    table_ptr,  # [R, C] int32
    rows_ptr,  # [A]
    own_ptr,  # [A, C] int32
    uniforms_ptr,  # [A, draws] float32
    C,
    draws,
    stream,
    table_stride,
):
    a = tl.program_id(0).to(tl.int64)
    row = table_ptr + tl.load(rows_ptr + a).to(tl.int64) * table_stride
    lane = tl.arange(0, SLOTS)
    for first in range(0, C, SLOTS):
        here = first + lane < C
        column = tl.load(row + first + lane, mask=here, other=0)
        tl.store(own_ptr + a * C + first + lane, column, mask=here)
    if draws > 0:
        low = tl.load(row + SEED).to(tl.int64) & 0xFFFFFFFF
        seed = (tl.load(row + SEED + 1).to(tl.int64) << 32) | low
        x = uniform_of(base_of(seed, tl.load(row + THINK_STEP)), stream, lane)
        tl.store(uniforms_ptr + a * draws + lane, x, mask=lane < draws)


def _noise(seed, position, stream, lanes, kind):
    A, L = len(seed), lanes.shape[-1]
    out = torch.empty((A, L), dtype=torch.float32, device=seed.device)
    assert lanes.stride(-1) == 1 or L == 1
    stride = 0 if lanes.dim() == 1 else lanes.stride(0)
    if A and L:
        noise_kernel[(A, triton.cdiv(L, LANES.value))](
            seed, position, lanes, out, L, stream, kind, seed.stride(0), position.stride(0),
            stride, num_warps=WARPS,
        )  # fmt: skip
    return out


def uniform(seed, position, stream, lanes):
    return _noise(seed, position, stream, lanes, UNIFORM)


def gumbel(seed, position, stream, lanes):
    return _noise(seed, position, stream, lanes, GUMBEL)


def normal(seed, position, stream, lanes):
    return _noise(seed, position, stream, lanes, NORMAL)


def log_gamma(seed, position, stream, boost, shape, lanes):
    A, L = shape.shape
    out = torch.empty((A, L), dtype=torch.float32, device=seed.device)
    assert SLOTS.value >= L and shape.is_contiguous() and lanes.stride(1) == 1
    if A:
        log_gamma_kernel[(A,)](
            seed, position, shape, lanes, out, L, stream, boost, seed.stride(0),
            position.stride(0), lanes.stride(0), num_warps=WARPS,
        )  # fmt: skip
    return out


def gather_rows(table, rows, draws=0, stream=0):
    A, C = len(rows), table.shape[1]
    assert draws <= SLOTS.value and table.stride(1) == 1 and (rows.stride(0) == 1 or A <= 1)
    own = torch.empty((A, C), dtype=torch.int32, device=table.device)
    uniforms = torch.empty((A, draws), dtype=torch.float32, device=table.device)
    if A:
        gather_rows_kernel[(A,)](
            table, rows, own, uniforms, C, draws, stream, table.stride(0), num_warps=WARPS
        )
    return own, uniforms
