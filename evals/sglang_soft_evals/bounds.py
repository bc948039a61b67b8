"""The bounds of a control: a `max_thinking_tokens` for each sample, from recorded lengths.

Pure functions of the records: a run that was killed makes the same bounds again.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple

import orjson

Sample = tuple[str, int]
"""(question, number of the sample)"""
Lengths = Mapping[Sample, int]
"""Thinking tokens of every sample that has an answer."""


class Budget(NamedTuple):
    """A bound at which thoughts have a given mean length."""

    least: int
    """The bound of most samples; the others have one more."""
    last: str
    """Samples whose draw is at most this one have `least + 1`; empty: none has."""
    salt: str

    def of(self, sample: Sample) -> int:
        return self.least + (draw(self.salt, sample) <= self.last)


def budget(lengths: Lengths, mean: Fraction, salt: str) -> Budget:
    """The bound b with mean(min(length, b)) = mean.

    b is not whole. Each sample has the whole number below or above it, by a hash of question and
    sample, in such shares that the mean is met on these lengths: exactly if mean times their number
    is whole, else to half a token of their sum.

    Args:
        lengths: of thoughts without a bound, at least one.
        mean: more than 0 and less than their mean, else ValueError.
        salt: of the hash.
    """
    total, wanted = sum(lengths.values()), round(mean * len(lengths))
    if not 0 <= wanted < total:
        raise ValueError(f"a mean of {float(mean):.2f} tokens is not below that of the thoughts")
    longest = max(lengths.values())
    least = bisect_right(range(longest), wanted, key=lambda bound: _sum(lengths, bound)) - 1
    more = wanted - _sum(lengths, least)
    longer = (sample for sample, length in lengths.items() if length > least)
    draws = sorted(draw(salt, sample) for sample in longer)
    return Budget(least, draws[more - 1] if more else "", salt)


def permuted(samples: Iterable[Sample], lengths: Lengths, salt: str) -> dict[Sample, int]:
    """For each sample a length of another question, so that it tells nothing about its own.

    The questions of one sample number stand in a random circle, and each gets the length of the
    next one that has any: no question keeps its own, and no length is used twice. Only where an
    answer is missing (a failed request), the next question's length is used again. Samples get none
    if no other question has a length.

    Args:
        samples: all that need a bound.
        lengths: those to hand out.
        salt: of the permutation.
    """
    circles: dict[int, list[Sample]] = {}
    for sample in samples:
        circles.setdefault(sample[1], []).append(sample)
    spare = sorted(lengths, key=lambda sample: draw(salt, sample))
    found = {}
    for circle in circles.values():
        circle.sort(key=lambda sample: draw(salt, sample))
        for place, sample in enumerate(circle):
            donors = (*circle[place + 1 :], *circle[:place], *spare)
            for donor in donors:
                if donor in lengths and donor[0] != sample[0]:
                    found[sample] = lengths[donor]
                    break
    return found


def draw(salt: str, sample: Sample) -> str:
    """A number that depends on nothing but its arguments, uniform, as hexadecimal text."""
    return hashlib.sha256(orjson.dumps([salt, *sample])).hexdigest()


def _sum(lengths: Lengths, bound: int) -> int:
    return sum(min(length, bound) for length in lengths.values())
