"""Gamma variates as a compiled loop; `naive` is the specification, and runs for all other noise.

The specification's rounds are hundreds of operators, which take milliseconds in a batch of any
size. Here a variate ends at the round that accepts, nearly always the first. Uniforms have the
specification's bits; logs and cosines may differ in the last ones.
"""

import math

import numpy as np
import torch

from ..compiled import compiled
from .naive import ROUNDS

# splitmix64's numbers, written out: Numba's cache watches this file, not `naive`.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FACTOR_1, _FACTOR_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_DROPPED, _STREAM_AT, _NEXT = np.uint64(41), np.uint64(32), np.uint64(1)
_HALF, _UNIT = np.float32(0.5), np.float32(2.0**-23)
_ONE, _TWO, _NINE = np.float32(1), np.float32(2), np.float32(9)
_TWO_PI, _TWO_THIRDS, _TINY = np.float32(2 * math.pi), np.float32(2 / 3), np.float32(1e-38)


@compiled
def _mix(x):
    """splitmix64's finaliser, of an uint64."""
    x = (x ^ (x >> _SHIFT_1)) * _FACTOR_1
    x = (x ^ (x >> _SHIFT_2)) * _FACTOR_2
    return x ^ (x >> _SHIFT_3)


@compiled
def _uniform(base, stream, lane):
    counter = np.uint64(lane) + (np.uint64(stream) << _STREAM_AT) + _NEXT
    bits = _mix(base + counter * _GOLDEN) >> _DROPPED
    return (np.float32(bits) + _HALF) * _UNIT


@compiled
def log_gamma_loop(seed, position, stream, boost, rounds, shape, lanes, out):
    for a in range(shape.shape[0]):
        base = _mix(np.uint64(seed[a])) + (np.uint64(position[a]) + _NEXT) * _GOLDEN
        base = _mix(base)
        for i in range(shape.shape[1]):
            own, lane = shape[a, i], lanes[a, i]
            if not own > 0:
                out[a, i] = -np.inf
                continue
            d = own + _TWO_THIRDS
            k = _ONE / np.sqrt(_NINE * d)
            v = _ONE
            for r in range(rounds):
                first = stream + 3 * r
                radius = np.sqrt(-_TWO * np.log(_uniform(base, first, lane)))
                x = radius * np.cos(_TWO_PI * _uniform(base, first + 1, lane))
                trial = _ONE + k * x
                trial = trial * trial * trial
                log_trial = np.log(max(trial, _TINY))
                u = np.log(_uniform(base, first + 2, lane))
                if trial > 0 and u < _HALF * x * x + d - d * trial + d * log_trial:
                    v = trial
                    break
            out[a, i] = np.log(d * v) + np.log(_uniform(base, boost, lane)) / own


def log_gamma(seed, position, stream, boost, shape, lanes):
    out = torch.empty(shape.shape)
    given = (x.contiguous().numpy() for x in (shape, lanes.int()))  # one variant of the loop
    log_gamma_loop(
        seed.contiguous().numpy(), position.int().contiguous().numpy(), stream, boost, ROUNDS,
        *given, out.numpy(),
    )  # fmt: skip
    return out
