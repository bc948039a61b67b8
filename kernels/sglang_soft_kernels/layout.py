"""A row of per-request device state: its columns and the values in them, for host, reference and kernel alike.

Imports neither torch nor triton.
"""

from enum import IntEnum

# Columns of the int32 parameters and state; the last three change at every step
TOP_K, CANDIDATES, MAX_TOPK, METHOD, HORIZON = range(5)
COLD_STEPS, BOUND, THINK_START, THINK_END, PHASE, LOW, THOUGHT = range(5, 12)
INTS = 12
# Columns of the float32 parameters
TEMPERATURE, TOP_P, MIN_P, COLD_ENTROPY = range(4)


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
