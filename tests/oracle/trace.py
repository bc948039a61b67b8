"""What a request must produce, what an engine did produce, and whether the two agree."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from .steps import ThinkingStep

THINK_END = ("stop_token", "method", "stop_rule", "cold_stop", "max_thinking_tokens", "eos")
"""Why think-end was emitted."""

SMALLEST = 2.0**-126
"""Smallest normal number of float32."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Everything one request produces, by the oracle."""

    output_ids: list[int]
    steps: list[ThinkingStep]
    """Every thinking step, and the step that emitted think-end as the last one if the thinking
    ended so."""
    first_step: int | None
    """Index in `output_ids` of `steps[0]`; None without thinking."""
    ended: str | None
    """One of `THINK_END`; or length, stop_eos, stop_token_id: the request finished while thinking;
    None: it never thought."""
    finish: str
    """length or stop."""
    fed: list[torch.Tensor] = field(default_factory=list, repr=False, compare=False)
    """[len(output_ids)] of [hidden]: the input embedding at the position of each output token."""
    low: int = 0
    """Cold Stop's count after the last thinking step."""
    method_state: list[float] = field(default_factory=list)
    """What the method remembers after the last thinking step."""
    token_margins: list[float] = field(repr=False)
    """[len(output_ids)]: largest minus second largest logit, at every step of the output."""

    @property
    def thinking_tokens(self) -> int:
        """Thinking steps without think-end."""
        return len(self.steps) - (self.ended in THINK_END)

    @property
    def answer_tokens(self) -> int:
        """Tokens after think-end; 0 if the thinking did not end."""
        if self.first_step is None or self.ended not in THINK_END:
            return 0
        return len(self.output_ids) - self.first_step - len(self.steps)

    @property
    def entropies(self) -> list[float]:
        """Of every step, think-end included."""
        return [step.entropy for step in self.steps]

    @property
    def mean_entropy(self) -> float:
        """Over `entropies`."""
        return sum(self.entropies) / len(self.steps)

    @property
    def final_entropy(self) -> float:
        """Of the last step, think-end included."""
        return self.entropies[-1]

    def margins_at(self, position: int) -> dict[str, float]:
        """Margins of the decisions that gave `output_ids[position]`."""
        if self.first_step is not None and 0 <= position - self.first_step < len(self.steps):
            return self.steps[position - self.first_step].margins
        return {"argmax": self.token_margins[position]}

    @property
    def smallest_margin(self) -> tuple[float, str, int]:
        """(margin, name of the decision, output position) of the closest decision of the whole
        trace."""
        every = (
            (v, k, i) for i in range(len(self.output_ids)) for k, v in self.margins_at(i).items()
        )
        return min(every)


class Concept(NamedTuple):
    """A concept token as an engine reports it. Slots of weight 0 are unused, their ids mean
    nothing; so are those below the smallest normal float32, which a device may flush to 0."""

    ids: Sequence[int]
    weights: Sequence[float]
    entropy: float


@dataclass(frozen=True, kw_only=True)
class Observed:
    """A trace as an engine reports it, as plain data."""

    output_ids: Sequence[int]
    concepts: Sequence[Concept | tuple]
    thinking_tokens: int
    ended: str | None
    finish: str | None = None
    """None: not compared."""

    @classmethod
    def of(cls, trace: Trace) -> "Observed":
        """The report of an engine that does exactly what the oracle does."""
        concepts = [Concept(s.ids, s.weights, s.entropy) for s in trace.steps]
        return cls(
            output_ids=trace.output_ids,
            concepts=concepts,
            thinking_tokens=trace.thinking_tokens,
            ended=trace.ended,
            finish=trace.finish,
        )


class TraceMismatch(AssertionError):
    """Two traces differ. `position`: output index of the first difference, None if it is in a
    total. `tie`: a decision at that step was closer than the tolerance, so rounding alone may
    explain the difference."""

    def __init__(self, message: str, position: int | None = None, tie: bool = False):
        super().__init__(message)
        self.position = position
        self.tie = tie


def compare(
    observed: Observed, oracle: Trace, atol: float = 1e-5, tie: float | None = None
) -> None:
    """Raise `TraceMismatch` at the first step where `observed` is not what `oracle` says.

    `atol`: absolute tolerance of weights and entropies; ids, counts and reasons are exact. `tie`
    (`atol` unless given): a margin below it is called a tie in the message; a tie is still a
    mismatch.
    """
    tie = atol if tie is None else tie
    for position in range(max(len(observed.output_ids), len(oracle.output_ids))):
        problem = _token_problem(observed, oracle, position) or _concept_problem(
            observed, oracle, position, atol
        )
        if problem:
            raise _mismatch(problem, observed, oracle, position, tie)
    for name in ("thinking_tokens", "ended", "finish"):
        ours, theirs = getattr(oracle, name), getattr(observed, name)
        if ours != theirs and not (name == "finish" and theirs is None):
            raise TraceMismatch(f"{name}: engine {theirs!r}, oracle {ours!r}")
    if len(observed.concepts) != len(oracle.steps):
        raise TraceMismatch(
            f"number of concepts: engine {len(observed.concepts)}, oracle {len(oracle.steps)}"
        )


def _token_problem(observed: Observed, oracle: Trace, position: int) -> str | None:
    theirs, ours = _at(observed.output_ids, position), _at(oracle.output_ids, position)
    return None if theirs == ours else f"token: engine {theirs}, oracle {ours}"


def _concept_problem(observed: Observed, oracle: Trace, position: int, atol: float) -> str | None:
    if oracle.first_step is None:
        return "the engine thinks, the oracle does not" if observed.concepts else None
    index = position - oracle.first_step
    step = _at(oracle.steps, index)
    concept = _at(observed.concepts, index)
    if step is None and concept is None:
        return None
    if step is None or concept is None:
        return f"concept {index}: {'missing in the oracle' if step is None else 'missing in the engine'}"
    ids, weights, entropy = concept
    if len(ids) != len(weights):
        return f"concept {index}: {len(ids)} ids but {len(weights)} weights"
    used = [(i, w) for i, w in zip(ids, weights, strict=True) if not abs(w) < SMALLEST]
    expected = [
        (i, w) for i, w in zip(step.ids, step.weights, strict=True) if not abs(w) < SMALLEST
    ]
    if [i for i, _ in used] != [i for i, _ in expected]:
        return f"concept {index}: ids differ"
    for slot, ((_, theirs), (_, ours)) in enumerate(zip(used, expected, strict=True)):
        if not abs(theirs - ours) <= atol:
            return f"concept {index}: weight of slot {slot}: engine {theirs:.8g}, oracle {ours:.8g}"
    if not abs(entropy - step.entropy) <= atol:
        return f"concept {index}: entropy: engine {entropy:.8g}, oracle {step.entropy:.8g}"
    return None


def _mismatch(
    problem: str, observed: Observed, oracle: Trace, position: int, tie: float
) -> TraceMismatch:
    lines = [f"output position {position} of {len(oracle.output_ids)}: {problem}"]
    close = False
    if position < len(oracle.output_ids):
        margins = oracle.margins_at(position)
        name = min(margins, key=margins.__getitem__)
        close = margins[name] < tie
        verdict = (
            f"a tie (< {tie:g}), rounding may have decided it"
            if close
            else "a true mismatch, no tie"
        )
        lines.append(f"  closest decision: {name}, margin {margins[name]:.3g}: {verdict}")
        lines.append("  margins: " + ", ".join(f"{k} {v:.3g}" for k, v in margins.items()))
        close_before = min(
            ((v, k, i) for i in range(position) for k, v in oracle.margins_at(i).items()),
            default=None,
        )
        if close_before:
            lines.append(
                "  closest decision before: {1}, margin {0:.3g}, at position {2}".format(
                    *close_before
                )
            )
    index = position - (oracle.first_step or 0)
    lines.append(
        f"  engine: token {_at(observed.output_ids, position)}, {_at(observed.concepts, index)}"
    )
    step = _at(oracle.steps, index)
    shown = step and Concept(step.ids, step.weights, step.entropy)
    lines.append(
        f"  oracle: token {_at(oracle.output_ids, position)}, {shown}"
        + (f", forced: {step.forced}" if step else "")
    )
    return TraceMismatch("\n".join(lines), position, close)


def _at(items: Sequence, index: int):
    return items[index] if 0 <= index < len(items) else None
