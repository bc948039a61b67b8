"""Noise as a pure function of (seed, position, stream, lane), on the device.

A request draws the same noise in any batch and row, after a retraction and on every tensor-parallel
rank. The generator is counter based: splitmix64's finaliser over the four numbers, in 64-bit
integers that wrap. Shapes: B rows, L lanes.
"""

import math

import torch

# Streams: which kind of number a lane is. A method of one's own may use any from FREE on.
DRAW, GUMBEL, BOOST, NORMAL = 0, 1, 2, 3
"""NORMAL takes two: itself and the next."""
GAMMA = 16
FREE = 1024

_TWO64 = 1 << 64
_GOLDEN = 0x9E3779B97F4A7C15
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS = (30, 27, 31)


def _signed(x: int) -> int:
    x %= _TWO64
    return x - _TWO64 if x >> 63 else x


def sample_seed(seed: int, sample: int) -> int:
    """Seed of one of a request's parallel samples (n > 1); sample 0 has the request's own. Host
    integers, of 53 bits for the others: they are sent to the client, and JavaScript's numbers hold
    no more."""
    if sample == 0:
        return _signed(seed)
    x = (seed + sample * _GOLDEN) % _TWO64
    for shift, factor in zip(_SHIFTS, (*_FACTORS, 1)):
        x = (x ^ (x >> shift)) * factor % _TWO64
    return x >> 11


def _mix(x: torch.Tensor) -> torch.Tensor:
    """splitmix64's finaliser, int64 in place of uint64. `>>` keeps the sign, so the copies of it
    are masked away."""
    for shift, factor in zip(_SHIFTS, (*_FACTORS, None)):
        x = x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))
        if factor is not None:
            x = x * _signed(factor)
    return x


class Noise:
    """The noise of one step of B rows. seed: [B] int64; position: [B] int, index of the row's
    thinking step."""

    def __init__(self, seed: torch.Tensor, position: torch.Tensor) -> None:
        self._base = _mix(_mix(seed) + (position.long() + 1) * _signed(_GOLDEN))

    def uniform(self, stream: int, lanes: torch.Tensor) -> torch.Tensor:
        """In (0, 1), 23 bits. lanes: [B, L] or [L] int, in 0..2^32. Returns [B, L] float32."""
        counter = lanes.long() + ((stream << 32) + 1)
        bits = _mix(self._base[:, None] + counter * _signed(_GOLDEN))
        return (((bits >> 41) & (2**23 - 1)).float() + 0.5) * 2.0**-23

    def gumbel(self, stream: int, lanes: torch.Tensor) -> torch.Tensor:
        """Standard Gumbel, [B, L] float32."""
        return -torch.log(-torch.log(self.uniform(stream, lanes)))

    def normal(self, stream: int, lanes: torch.Tensor) -> torch.Tensor:
        """Standard normal (Box-Muller, two uniforms each), [B, L] float32. Uses `stream` and
        `stream + 1`."""
        radius = torch.sqrt(-2 * torch.log(self.uniform(stream, lanes)))
        return radius * torch.cos(2 * math.pi * self.uniform(stream + 1, lanes))

    def draw(self, probs: torch.Tensor, count: int = 1) -> torch.Tensor:
        """`count` independent draws by inverse CDF. probs: [B, W] >= 0, used slots first. Returns
        [B, count] int64."""
        total = probs.cumsum(1)
        lanes = torch.arange(count, device=probs.device)
        targets = self.uniform(DRAW, lanes) * total[:, -1:]
        last = (probs > 0).sum(
            1, keepdim=True
        ) - 1  # a target that rounds up to the total must not leave the support
        return torch.minimum(torch.searchsorted(total, targets, right=True), last.clamp(min=0))
