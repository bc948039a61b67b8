"""A row of per-request device state: its columns and the values in them, for host, reference and
kernel alike.

Imports neither torch nor triton.
"""

from enum import IntEnum
from typing import NamedTuple

# Columns of the int32 parameters and state; the last three change at every step
TOP_K, CANDIDATES, MAX_TOPK, METHOD, HORIZON = range(5)
COLD_STEPS, BOUND, THINK_START, THINK_END, PHASE, LOW, THOUGHT = range(5, 12)
INTS = 12
# Columns of the float32 parameters
TEMPERATURE, TOP_P, MIN_P, COLD_ENTROPY = range(4)

TINY = 2.0**-126
"""Smallest probability over the largest one that counts: below it GPUs flush float32 to 0 and CPUs
do not."""
ALL = 2**31 - 1
"""top_k that is off; a counter's bound that is never reached."""


class Filter(NamedTuple):
    """A row's sampling parameters as the kernels read them; greedy is top_k 1."""

    temperature: float
    """> 0"""
    top_k: int
    """>= 1; ALL: off"""
    top_p: float
    """> 0; infinity: off, so that a sum that rounds to more than the total cannot drop the tail"""
    min_p: float
    """>= TINY"""
    n: int
    """1 .. top_k: tokens kept at most"""

    @classmethod
    def of(cls, temperature: float, top_k: int, top_p: float, min_p: float, n: int) -> "Filter":
        """From SGLang's values: top_k <= 0, top_p >= 1 (as float32) and min_p 0 are off."""
        top_k = min(top_k, ALL) if top_k > 0 else ALL
        top_p = top_p if top_p < 1 - 2**-25 else float("inf")
        # Beyond 1e30 all tokens are equally probable; infinity would make -inf / inf of a forbidden
        # one.
        return cls(min(temperature, 1e30), top_k, top_p, max(min_p, TINY), min(n, top_k))


class Phase(IntEnum):
    """Phase of a row."""

    OFF = 0
    """Not a soft request."""
    WAIT = 1
    """Plain decoding; thinking starts behind a think-start token."""
    THINK = 2
    ANSWER = 3


class Step(IntEnum):
    """What one sampled position of a soft request was."""

    PLAIN = 0
    """An ordinary token: before thinking, or in the answer."""
    CONCEPT = 1
    THINK_END = 2
    """Think-end was the most probable token."""
    COLD_STOP = 3
    """Think-end was forced by Cold Stop."""
    BOUND = 4
    """Think-end was forced by max_thinking_tokens."""
    METHOD = 5
    """Think-end was forced by the method itself."""
