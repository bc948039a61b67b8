"""Token sequences that open and close a thought: how far an output matches them, and the row of the
pool that holds them. Imports neither torch nor triton.

Matching follows Knuth, Morris and Pratt: the state is the length of the longest suffix of the
output that is a prefix of the sequence, so that a sequence which overlaps itself is found.
"""

from collections.abc import Sequence

MAX_DELIMITER = 8
"""Most tokens of think-start or think-end."""
MAX_CLOSING = 64
"""Most tokens of a closing text."""

# Columns of a row of delimiters: the tail (closing text, then think-end), think-start, and of both
# delimiters the failure function
TAIL_TOKENS = 0
START_TOKENS = MAX_CLOSING + MAX_DELIMITER
START_FAILURE = START_TOKENS + MAX_DELIMITER
END_FAILURE = START_FAILURE + MAX_DELIMITER
DELIMITER_COLUMNS = END_FAILURE + MAX_DELIMITER


def failure(sequence: Sequence[int]) -> list[int]:
    """For each length less one: the longest proper suffix of that prefix that is a prefix too."""
    borders: list[int] = []
    for token in sequence:
        borders.append(advance(sequence, borders, borders[-1], token) if borders else 0)
    return borders


def advance(
    sequence: Sequence[int], borders: Sequence[int], matched: int, token: int
) -> int:  # fmt: skip
    """Tokens of `sequence` that an output ends with after `token`, if it ended with `matched` of
    them before (fewer than all). borders: of `failure`."""
    while matched and token != sequence[matched]:
        matched = borders[matched - 1]
    return matched + 1 if sequence and token == sequence[matched] else 0


def contains(sequence: Sequence[int], part: Sequence[int]) -> bool:
    size = len(part)
    return any(tuple(sequence[i : i + size]) == tuple(part) for i in range(len(sequence)))


def delimiter_row(start: Sequence[int], end: Sequence[int], closing: Sequence[int]) -> list[int]:
    """A row of the pool's delimiters. Unused tokens of the tail are 0, a valid id; those of
    think-start are -1, which no output has."""
    assert len(start) <= MAX_DELIMITER >= len(end) and len(closing) <= MAX_CLOSING
    tail = [*closing, *end]
    return [
        *tail, *[0] * (START_TOKENS - len(tail)),
        *start, *[-1] * (MAX_DELIMITER - len(start)),
        *_padded(failure(start)), *_padded(failure(end)),
    ]  # fmt: skip


def _padded(borders: list[int]) -> list[int]:
    return borders + [0] * (MAX_DELIMITER - len(borders))
