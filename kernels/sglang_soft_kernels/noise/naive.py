"""Noise in plain PyTorch, as a pure function of (seed, position, stream, lane): the specification
of `triton` and `cpu`. CPUs run it too, but for `log_gamma`.

A row draws the same noise in any batch, after a retraction and on every tensor-parallel rank. The
generator is counter based: splitmix64's finaliser over the four numbers, in 64-bit integers that
wrap. Uniforms have the same bits everywhere; what is computed from them may differ in the last ones
between devices. Shapes: A rows, L lanes, R rows of the concept pool, C columns of its table.

seed: [A] int64. position: [A] int, index of the row's thinking step. stream: which kind of number a
lane is, below 2^31. lanes: [A, L] or [L] int32 or int64, in 0..2^32.
"""

import math

import torch

from .. import layout
from ..dispatch import dispatch

ROUNDS = 10
"""Of the gamma sampler; a round accepts with a probability above 0.95, so 10 fail once in 10^13
draws."""

GOLDEN = 0x9E3779B97F4A7C15
FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
SHIFTS = (30, 27, 31)


def signed(x: int) -> int:
    """An integer modulo 2^64 as int64 holds it."""
    x %= 1 << 64
    return x - (1 << 64) if x >> 63 else x


def _mix(x: torch.Tensor) -> torch.Tensor:
    """splitmix64's finaliser, int64 in place of uint64. `>>` keeps the sign, so the copies of it
    are masked away."""
    for shift, factor in zip(SHIFTS, (*FACTORS, None)):
        x = x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))
        if factor is not None:
            x = x * signed(factor)
    return x


def _base(seed: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    return _mix(_mix(seed) + (position.long() + 1) * signed(GOLDEN))


def _uniform(base: torch.Tensor, stream: int, lanes: torch.Tensor) -> torch.Tensor:
    counter = lanes.long() + ((stream << 32) + 1)
    bits = _mix(base[:, None] + counter * signed(GOLDEN))
    return (((bits >> 41) & (2**23 - 1)).float() + 0.5) * 2.0**-23


def _normal(base: torch.Tensor, stream: int, lanes: torch.Tensor) -> torch.Tensor:
    radius = torch.sqrt(-2 * torch.log(_uniform(base, stream, lanes)))
    return radius * torch.cos(2 * math.pi * _uniform(base, stream + 1, lanes))


def seeds_of(table: torch.Tensor) -> torch.Tensor:
    """Column SEED of a pool's table, [R, an even number] int32, as [R] int64: a view."""
    return table[:, layout.SEED : layout.SEED + 2].view(torch.int64)[:, 0]


@dispatch
def uniform(
    seed: torch.Tensor, position: torch.Tensor, stream: int, lanes: torch.Tensor
) -> torch.Tensor:
    """In (0, 1), 23 bits: [A, L] float32."""
    return _uniform(_base(seed, position), stream, lanes)


@dispatch
def gumbel(
    seed: torch.Tensor, position: torch.Tensor, stream: int, lanes: torch.Tensor
) -> torch.Tensor:
    """Standard Gumbel: [A, L] float32."""
    return -torch.log(-torch.log(_uniform(_base(seed, position), stream, lanes)))


@dispatch
def normal(
    seed: torch.Tensor, position: torch.Tensor, stream: int, lanes: torch.Tensor
) -> torch.Tensor:
    """Standard normal by Box and Muller, [A, L] float32. Uses `stream` and the next one."""
    return _normal(_base(seed, position), stream, lanes)


@dispatch
def log_gamma(
    seed: torch.Tensor,
    position: torch.Tensor,
    stream: int,
    boost: int,
    shape: torch.Tensor,
    lanes: torch.Tensor,
) -> torch.Tensor:
    """log of Gamma(shape, 1) variates; -inf where the shape is 0. shape: [A, L] float32; lanes:
    [A, L]. Returns [A, L] float32. Uses 3 ROUNDS streams from `stream` on, and `boost`.

    Marsaglia and Tsang (2000) on shape + 1, and the boost U^(1 / shape). In logarithms, because a
    small shape's variates underflow. The rejection loop has a fixed number of rounds, so that
    nothing waits for the device.
    """
    base, used = _base(seed, position), shape > 0
    shape = torch.where(used, shape, 1.0)
    d = shape + (1 - 1 / 3)
    k = 1 / torch.sqrt(9 * d)
    accepted = torch.zeros_like(shape, dtype=torch.bool)
    v = torch.ones_like(shape)
    for r in range(ROUNDS):
        x = _normal(base, stream + 3 * r, lanes)
        trial = (1 + k * x) ** 3
        log_trial = torch.log(trial.clamp(min=1e-38))
        u = _uniform(base, stream + 3 * r + 2, lanes)
        accept = (trial > 0) & (torch.log(u) < 0.5 * x * x + d - d * trial + d * log_trial)
        v = torch.where(accept & ~accepted, trial, v)
        accepted |= accept
    result = torch.log(d * v) + torch.log(_uniform(base, boost, lanes)) / shape
    return torch.where(used, result, float("-inf"))


@dispatch
def gather_rows(
    table: torch.Tensor, rows: torch.Tensor, draws: int = 0, stream: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a step knows of its rows before it reads the logits, in one launch.

    table: [R, C] int32, the columns of layout.py and more. rows: [A] int64. Returns these rows,
    [A, C] int32, and uniforms of their thinking step in lanes 0 .. draws - 1 of `stream`,
    [A, draws] float32.
    """
    own = table[rows]
    if not draws:
        return own, torch.empty((len(rows), 0), device=table.device)
    base = _base(seeds_of(own), own[:, layout.THINK_STEP])
    return own, _uniform(base, stream, torch.arange(draws, device=table.device))
