"""Columns of per-request device state and of a step's record, for host and every kernel alike.

Imports neither torch nor triton.
"""

from enum import IntEnum
from typing import NamedTuple

# Columns of a pool row's int32 part: parameters and state; from PHASE on they change at every step.
# THINK_START and THINK_END are ids for methods that mix them; what opens and closes a thought is in
# the row's delimiters (sequences.py), with the numbers of tokens here. MATCH: tokens of think-start
# (before the thought) or of think-end (in it) that the output ends with. TAIL: where a forced end
# stands (`tail_state`). LAST_TOKEN: what the row emitted last.
TOP_K, NUM_CANDIDATES, MAX_TOPK, METHOD, MAX_NEW_TOKENS = range(5)
COLD_STOP_STEPS, MAX_THINKING_TOKENS, THINK_START, THINK_END = range(5, 9)
EOS, EOS_COLUMNS = 9, 8
"""Tokens that become think-end in a thought: the first of the columns that hold them (-1: unused),
and how many those are."""
START_SIZE, CLOSING_SIZE, TAIL_SIZE = range(17, 20)
WEIGHT_BITS = 20
"""0: weights are as the method makes them."""
STOP_RULE = 21
"""Number of the row's stopping rule; -1: it has none that takes steps of its own."""
PHASE, LOW_ENTROPY_STEPS, THINK_STEP, MATCH, TAIL, LAST_TOKEN = range(22, 28)
INT_COLUMNS = 28
"""Even: the seed, an int64, begins at an even column."""

# Columns of its float32 part
TEMPERATURE, TOP_P, MIN_P, COLD_STOP_ENTROPY = range(4)
FLOAT_COLUMNS = 4

# Then the request's seed, an int64 in two columns. Then, float32, the parameters of the method and
# of the stopping rule, and the state of both
SEED = INT_COLUMNS + FLOAT_COLUMNS
ARGS = SEED + 2

# Columns of a step's record, int32, floats by their bits; then ids, weights and state
KIND, TOKEN, LOW_ENTROPY, ENTROPY, NEXT_TAIL = range(5)
RECORD_HEAD = 5

MAX_SLOTS = 64
"""Largest concept that the kernels take."""

MIN_PROB_RATIO = 2.0**-126
"""Least probability, relative to the largest one, that counts: below it GPUs flush float32 to 0 and
CPUs do not."""
TOP_K_OFF = 2**31 - 1
"""top_k that is off; a counter's bound that is never reached."""


KIND_SHIFT = 256
"""Factor of the kind in a tail state; larger than every index of a tail."""


def tail_state(index: int, kind: int) -> int:
    """A forced end under way, as one number: index of the tail's next token, and the kind of the
    step that will emit the last one. 0: none is under way; the first token of a tail is emitted by
    the step that begins it."""
    return index + KIND_SHIFT * kind


def ids_of(k: int) -> slice:
    """Columns of a record that hold the ids of a concept of size k."""
    return slice(RECORD_HEAD, RECORD_HEAD + k)


def weights_of(k: int) -> slice:
    return slice(RECORD_HEAD + k, RECORD_HEAD + 2 * k)


def state_of(k: int) -> slice:
    """Columns of a record that hold the state of method and stopping rule."""
    return slice(RECORD_HEAD + 2 * k, None)


def record_columns(k: int, states: int) -> int:
    return RECORD_HEAD + 2 * k + states


class Filter(NamedTuple):
    """A row's sampling parameters as the kernels read them; greedy is top_k 1."""

    temperature: float
    """> 0"""
    top_k: int
    """>= 1; TOP_K_OFF: off"""
    top_p: float
    """> 0; infinity: off, so that a sum that rounds to more than the total cannot drop the tail"""
    min_p: float
    """>= MIN_PROB_RATIO"""
    num_candidates: int
    """1 .. top_k: tokens kept at most"""

    @classmethod
    def of(
        cls, temperature: float, top_k: int, top_p: float, min_p: float, num_candidates: int
    ) -> "Filter":
        """From SGLang's values: top_k <= 0, top_p >= 1 (as float32) and min_p 0 are off."""
        top_k = min(top_k, TOP_K_OFF) if top_k > 0 else TOP_K_OFF
        top_p = top_p if top_p < 1 - 2**-25 else float("inf")
        # Beyond 1e30 all tokens are equally probable; infinity would make -inf / inf of a forbidden
        # one.
        temperature, min_p = min(temperature, 1e30), max(min_p, MIN_PROB_RATIO)
        return cls(temperature, top_k, top_p, min_p, min(num_candidates, top_k))


class Phase(IntEnum):
    """Phase of a row."""

    OFF = 0
    """Not a soft request."""
    WAIT = 1
    """Plain decoding; thinking starts after a think-start token."""
    THINK = 2
    ANSWER = 3


class StepKind(IntEnum):
    """What one sampled position of a soft request was."""

    PLAIN = 0
    """An ordinary token: before the thought, or in the answer."""
    CONCEPT = 1
    STOP_TOKEN = 2
    """Think-end was the output token of the method."""
    COLD_STOP = 3
    """Think-end was forced by Cold Stop."""
    MAX_THINKING_TOKENS = 4
    """Think-end was forced by max_thinking_tokens."""
    METHOD = 5
    """Think-end was forced by the method itself."""
    EOS = 6
    """Think-end in place of an end-of-sequence token."""
    CLOSING = 7
    """A token of the closing text, or of think-end but its last one, was forced; the thought goes
    on with the next one of them."""
    STOP_RULE = 9
    """Think-end was forced by the stopping rule. 8 is taken: a request put think-end in
    (sglang_soft/trace/reasons.py)."""
