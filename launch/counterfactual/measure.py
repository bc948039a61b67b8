"""The two measurements: is the answer known after a step, and does a changed step change it?"""

import re
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any

import numpy as np

from launch.counterfactual.asking import GOING_ON, GREEDY_ANSWER, Asked
from sglang_soft.trace import Trace
from sglang_soft.trace.cutting import think_end

UNCHANGED = "unchanged"
CHANGES = ("first alone", "second alone", "first removed")
_Z = 1.96


@dataclass
class Found:
    """Of one thought. Lists have an entry for each thinking step."""

    question: str
    right: str
    """The number that a right answer ends with."""
    thought: str
    answer: str
    """What the whole thought is answered with."""
    n: int
    """Drawn continuations of each changed thought."""
    tokens: list[str] = field(default_factory=list)
    """What the step emitted."""
    entropy: list[float] = field(default_factory=list)
    """nats"""
    candidates: list[list[tuple[str, float]]] = field(default_factory=list)
    """The two candidates of the largest weights."""
    known: list[float] = field(default_factory=list)
    """[steps + 1] probability of the right answer, asked for after so many steps."""
    drawn: dict[str, list[int]] = field(default_factory=dict)
    """By change: how many of n drawn continuations end with the right answer."""
    soft: dict[str, list[bool]] = field(default_factory=dict)
    """By change: is the answer right where the thought goes on as a soft one?"""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Found":
        return cls(**values)


def changed(trace: Trace, step: int) -> dict[str, tuple[Trace, str]]:
    """The thought up to a step, with that step unchanged and changed in each way; and where it goes
    on: at its answer, where think-end takes the step's place."""
    ids = trace.concept(step).ids.tolist()
    edit, (end,) = trace.edit, think_end(trace)
    found = {
        UNCHANGED: (trace.cut(step + 1), "next"),
        CHANGES[0]: (edit.sharpen(step, 0), "next"),
    }
    if ids[1] == end:
        return found | dict.fromkeys(CHANGES[1:], (trace.cut(step), "answer"))
    return found | {
        CHANGES[1]: (edit.replace(step, [ids[1]]), "next"),
        CHANGES[2]: (edit.remove(step, ids[0]), "next"),
    }


def measure(asked: Asked, question: str, right: str, n: int, most: int | None = None) -> Found:
    """Think once, then ask with every step left out and changed. most: steps, from the first on.

    Raises:
        RuntimeError: the server refused, or the thought did not end.
    """
    trace = asked.think(question)
    steps = range(trace.thinking_tokens)[:most]
    first = (trace.start or 0) - len(trace.prompt_ids)
    emitted = trace.output_ids[first : first + len(steps)].tolist()
    used = sorted({*emitted, *(i for s in steps for i in trace.concept(s).ids[:2].tolist())})
    text = dict(zip(used, asked.texts(used), strict=True))
    ((answer,),) = asked.answers([(trace, "answer")], 1, GREEDY_ANSWER)
    found = Found(question, right, "".join(text[i] for i in emitted), answer, n)
    found.tokens = [text[i] for i in emitted]
    found.entropy = [float(e) for e in trace.entropy[: len(steps)]]
    for step in steps:
        ids, weights = (column[:2].tolist() for column in trace.concept(step)[:2])
        found.candidates.append([(text[i], w) for i, w in zip(ids, weights, strict=True)])
    cuts = [trace.cut(count) for count in range(len(steps) + 1)]
    found.known = asked.probabilities(cuts, f"\nAnswer: {right}<|im_end|>")
    every = [changed(trace, step) for step in steps]
    for change in (UNCHANGED, *CHANGES):
        places = [one[change] for one in every]
        drawn = asked.answers(places, n, GOING_ON)
        found.drawn[change] = [sum(ends_with(t, right) for t in texts) for texts in drawn]
        soft = asked.answers(places, 1, GREEDY_ANSWER)
        found.soft[change] = [ends_with(texts[0], right) for texts in soft]
    return found


def ends_with(text: str, right: str) -> bool:
    """The thought has ended, and the last number after it is the right one."""
    answer = text.rpartition("</think>")[2]
    return "Answer" in answer and re.findall(r"\d+", answer)[-1:] == [right]


def interval(hits: int, n: int) -> tuple[float, float]:
    """95%, of a share (Wilson)."""
    share, z2 = hits / n, _Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def loss(found: Found, change: str, step: int) -> tuple[float, float, float]:
    """By how much a change lowers the share of right answers: value and 95% interval (Newcombe's,
    from the two Wilson intervals)."""
    n = found.n
    a, b = found.drawn[UNCHANGED][step], found.drawn[change][step]
    (low_a, high_a), (low_b, high_b) = interval(a, n), interval(b, n)
    share_a, share_b = a / n, b / n
    value = share_a - share_b
    low = value - sqrt((share_a - low_a) ** 2 + (high_b - share_b) ** 2)
    high = value + sqrt((high_a - share_a) ** 2 + (share_b - low_b) ** 2)
    return value, low, high


def deciding(found: Found, change: str) -> list[int]:
    """Steps whose change lowers it beyond doubt: the interval of `loss` is above 0."""
    return [s for s in range(len(found.tokens)) if loss(found, change, s)[1] > 0]


def first_known(found: Found, share: float = 0.5) -> int | None:
    """The least number of steps from which on the answer is right with at least this
    probability."""
    below = np.flatnonzero(np.asarray(found.known) < share)
    count = int(below[-1]) + 1 if len(below) else 0
    return count if count < len(found.known) else None
