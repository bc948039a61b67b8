"""The noise of a step: a pure function of (seed, position, stream, lane), on the device. The
generator is in sglang_soft_kernels/noise/naive.py. Shapes: A rows, L lanes."""

import sglang_soft_kernels as kernels
import torch
from sglang_soft_kernels.index import identity
from sglang_soft_kernels.noise.naive import FACTORS, GOLDEN, SHIFTS, signed

# Streams: which kind of number a lane is. A method of one's own may use any from FREE on.
DRAW, GUMBEL, BOOST, NORMAL = 0, 1, 2, 3
"""NORMAL takes two: itself and the next."""
GAMMA = 16
FREE = 1024


def sample_seed(seed: int, sample: int) -> int:
    """Seed of one of a request's parallel samples (n > 1); sample 0 has the request's own. Host
    integers, of 53 bits for the others: they are sent to the client, and JavaScript's numbers hold
    no more."""
    if sample == 0:
        return signed(seed)
    x = (seed + sample * GOLDEN) % 2**64
    for shift, factor in zip(SHIFTS, (*FACTORS, 1)):
        x = (x ^ (x >> shift)) * factor % 2**64
    return x >> 11


class Noise:
    """The noise of one step of A rows. seed: [A] int64; position: [A] int, index of the row's
    thinking step."""

    def __init__(self, seed: torch.Tensor, position: torch.Tensor) -> None:
        self._step = seed, position

    def uniform(self, stream: int, lanes: torch.Tensor) -> torch.Tensor:
        """In (0, 1), 23 bits. lanes: [A, L] or [L] int, in 0..2^32. Returns [A, L] float32."""
        return kernels.uniform(*self._step, stream, lanes)

    def gumbel(self, stream: int, lanes: torch.Tensor) -> torch.Tensor:
        """Standard Gumbel, [A, L] float32."""
        return kernels.gumbel(*self._step, stream, lanes)

    def normal(self, stream: int, lanes: torch.Tensor) -> torch.Tensor:
        """Standard normal, [A, L] float32. Uses `stream` and `stream + 1`."""
        return kernels.normal(*self._step, stream, lanes)

    def log_gamma(self, shape: torch.Tensor, lanes: torch.Tensor) -> torch.Tensor:
        """log of Gamma(shape, 1) variates, [A, L] float32; -inf where the shape is 0. Uses the
        streams from GAMMA on, and BOOST."""
        return kernels.log_gamma(*self._step, GAMMA, BOOST, shape, lanes)

    def draw(self, probs: torch.Tensor, count: int = 1) -> torch.Tensor:
        """`count` independent draws by inverse CDF, with the uniforms of `StepContext.drawn`.
        probs: [A, W] >= 0, used slots first. Returns [A, count] int64."""
        total = probs.cumsum(1)
        targets = self.uniform(DRAW, identity(count, probs.device)) * total[:, -1:]
        # A target that rounds up to the total must not leave the support.
        last = (probs > 0).sum(1, keepdim=True) - 1
        return torch.minimum(torch.searchsorted(total, targets, right=True), last.clamp(min=0))
