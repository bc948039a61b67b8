"""The questions whose accuracy moved most between the baseline and a method, with a trace of each
side."""

from dataclasses import dataclass
from typing import NamedTuple

from sglang_soft_evals.report.measures import mean_accuracy
from sglang_soft_evals.report.records import Record, Run

SHOWN = 5
"""Gains, and as many regressions, shown of each method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One question under the baseline and under a method."""

    question: str
    gold: str
    before: float
    after: float
    baseline: Record
    """A sample that shows the move: wrong for a gain, right for a regression."""
    method: Record
    """The opposite."""

    @property
    def change(self) -> float:
        return self.after - self.before


class Moves(NamedTuple):
    """How the common questions moved."""

    better: int
    worse: int
    equal: int
    shown: list[Move]
    """Best gains first, worst regressions last."""


def moves(run: Run, benchmark: str, baseline: str, method: str) -> Moves:
    """The common questions, and the SHOWN largest moves each way; equally large ones in the order
    of their ids."""
    reference, questions = run.of(benchmark, baseline), run.of(benchmark, method)
    before, after = mean_accuracy(reference), mean_accuracy(questions)
    found = []
    for name in questions:
        if name in reference and before[name] != after[name]:
            gain = after[name] > before[name]
            found.append(
                Move(
                    question=name,
                    gold=questions[name][0].gold,
                    before=before[name],
                    after=after[name],
                    baseline=next(r for r in reference[name] if r.correct != gain),
                    method=next(r for r in questions[name] if r.correct == gain),
                )
            )
    found.sort(key=lambda m: (-abs(m.change), m.question))
    gains, losses = [m for m in found if m.change > 0], [m for m in found if m.change < 0]
    equal = len(reference.keys() & questions.keys()) - len(found)
    return Moves(len(gains), len(losses), equal, gains[:SHOWN] + losses[:SHOWN][::-1])
