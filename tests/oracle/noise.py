"""The noise of a thinking step: a pure function of (seed, position, stream, lane), in Python's own
integers.

    mix(x): x ^= x >> 30; x *= 0xBF58476D1CE4E5B9; x ^= x >> 27; x *= 0x94D049BB133111EB; x ^= x >>
    31 bits = mix(mix(mix(seed) + GOLDEN * (position + 1)) + GOLDEN * (stream * 2^32 + lane + 1))
    all mod 2^64 uniform = ((bits >> 41) + 0.5) * 2^-23

Streams: 0 draws (lane: number of the draw), 1 Gumbel (lane: token id), 2 the Dirichlet boost (token
id), 3 and 4 the normal vector (component), 16 + 3r, 17 + 3r, 18 + 3r round r of the gamma sampler
(token id).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
DRAW, GUMBEL, BOOST, VECTOR, GAMMA = 0, 1, 2, 3, 16
ROUNDS = 10


def mix(x: int) -> int:
    """The finaliser of splitmix64, of x in [0, 2^64)."""
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & MASK
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def bits(seed: int, position: int, stream: int, lane: int) -> int:
    """64 bits. `seed` is signed; `position` counts the thinking steps of the request from 0."""
    step = mix(mix(seed & MASK) + GOLDEN * (position + 1) & MASK)
    return mix(step + GOLDEN * ((stream << 32) + lane + 1) & MASK)


class Draw(NamedTuple):
    index: int
    margin: float
    """Distance of u from the nearest boundary between two entries, in probability; infinity for one
    entry."""


class LogGamma(NamedTuple):
    value: float
    """log of a Gamma(a) variate."""
    slope: float
    """|d value / d log a| of the boost, which alone is large for a small a: how much a relative
    error of `a` grows."""
    margin: float
    """Of the closest decision to accept or refuse."""


class Simplex(NamedTuple):
    weights: list[float]
    log_gammas: list[LogGamma]


@dataclass(frozen=True)
class Noise:
    """All the noise of one thinking step."""

    seed: int
    position: int

    def uniform(self, stream: int, lane: int) -> float:
        """In (0, 1); one of 2^23 values, each exact in float32."""
        return ((bits(self.seed, self.position, stream, lane) >> 41) + 0.5) * 2.0**-23

    def gumbel(self, lane: int) -> float:
        return -math.log(-math.log(self.uniform(GUMBEL, lane)))

    def normal(self, stream: int, lane: int) -> float:
        """Box-Muller, from `stream` and the one after it."""
        radius = math.sqrt(-2 * math.log(self.uniform(stream, lane)))
        return radius * math.cos(2 * math.pi * self.uniform(stream + 1, lane))

    def draw(self, weights: Sequence[float], number: int) -> Draw:
        """Draw `number` of this step: an index with probability proportional to `weights`, by the
        inverse CDF."""
        total = math.fsum(weights)
        target = self.uniform(DRAW, number) * total
        sums = [math.fsum(weights[: i + 1]) for i in range(len(weights))]
        index = min(sum(s <= target for s in sums), len(weights) - 1)
        return Draw(index, min((abs(target - s) / total for s in sums[:-1]), default=math.inf))

    def log_gamma(self, a: float, lane: int) -> LogGamma:
        """Gamma(a), a > 0, by Marsaglia and Tsang on a + 1, then the boost u^(1/a)."""
        d = a + 1 - 1 / 3
        k = 1 / math.sqrt(9 * d)
        value, margin = 1.0, math.inf
        for r in range(ROUNDS):
            x = self.normal(GAMMA + 3 * r, lane)
            v = (1 + k * x) ** 3
            margin = min(margin, abs(1 + k * x))
            if v <= 0:
                continue
            spare = (
                x * x / 2
                + d
                - d * v
                + d * math.log(v)
                - math.log(self.uniform(GAMMA + 2 + 3 * r, lane))
            )
            margin = min(margin, abs(spare))
            if spare > 0:
                value = v
                break
        boost = math.log(self.uniform(BOOST, lane)) / a
        return LogGamma(math.log(d * value) + boost, abs(boost), margin)

    def dirichlet(self, concentration: Sequence[float], lanes: Sequence[int]) -> Simplex:
        """Dir(concentration); entry i has lane `lanes[i]`."""
        gammas = [self.log_gamma(a, lane) for a, lane in zip(concentration, lanes, strict=True)]
        return Simplex(softmax([g.value for g in gammas]), gammas)

    def vector(self, size: int, sigma: float) -> list[float]:
        """[size] of sigma * N(0, 1)."""
        return [sigma * self.normal(VECTOR, lane) for lane in range(size)]


def softmax(values: Sequence[float]) -> list[float]:
    most = max(values)
    powers = [math.exp(v - most) for v in values]
    return [p / math.fsum(powers) for p in powers]
