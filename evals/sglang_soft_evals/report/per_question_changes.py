"""The questions whose accuracy differs most between the baseline and a method, with a trace of each
side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sglang_soft_evals.record import Key, Record
from sglang_soft_evals.report.document import Cell, Link, PageLink, Table
from sglang_soft_evals.report.measures import mean_accuracy
from sglang_soft_evals.report.numbers import NONE, signed
from sglang_soft_evals.report.pages import Pages
from sglang_soft_evals.rundir import Run

SHOWN = 5
"""Gains, and as many losses, that are shown of each method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One question under the baseline and under a method."""

    question: str
    gold: str
    before: float
    """Fraction of the baseline's answers that are right."""
    after: float
    """The same of the method."""
    baseline: Record
    """A sample that shows the change: wrong for a gain, right for a loss."""
    method: Record
    """The opposite."""

    @property
    def difference(self) -> float:
        return self.after - self.before


class Changes(NamedTuple):
    """The common questions of the baseline and a method."""

    better: int
    worse: int
    equal: int
    shown: list[Change]
    """The largest gains first, the largest losses last."""


def per_question_changes(run: Run, benchmark: str, baseline: str, method: str) -> Changes:
    """Count the common questions, and pick the SHOWN largest changes each way; equal ones by id."""
    reference, questions = run.of(benchmark, baseline), run.of(benchmark, method)
    before, after = mean_accuracy(reference), mean_accuracy(questions)
    found = []
    for name in questions:
        if name in reference and before[name] != after[name]:
            gain = after[name] > before[name]
            change = Change(
                question=name,
                gold=questions[name][0].gold,
                before=before[name],
                after=after[name],
                baseline=next(r for r in reference[name] if r.correct != gain),
                method=next(r for r in questions[name] if r.correct == gain),
            )
            found.append(change)
    found.sort(key=lambda c: (-abs(c.difference), c.question))
    gains, losses = [c for c in found if c.difference > 0], [c for c in found if c.difference < 0]
    equal = len(reference.keys() & questions.keys()) - len(found)
    return Changes(len(gains), len(losses), equal, gains[:SHOWN] + losses[:SHOWN][::-1])


def table(
    shown: list[Change], anchors: Mapping[Key, str], pages: Pages, baseline: str, method: str
) -> Table:
    """The changes, each with a link to the answers of both sides, and where the run kept traces, to
    the page of their thoughts."""
    rows: list[dict[str, Cell]] = []
    found = [pages.add(change.baseline, change.method) for change in shown]
    for change, page in zip(shown, found, strict=True):
        row: dict[str, Cell] = {
            "question": change.question,
            "gold": change.gold,
            f"{baseline}, %": f"{100 * change.before:.0f}",
            f"{method}, %": f"{100 * change.after:.0f}",
            "change": signed(100 * change.difference, 0),
            f"trace of {baseline}": _link(change.baseline, anchors),
            f"trace of {method}": _link(change.method, anchors),
        }
        if any(found):
            row["thoughts"] = NONE if page is None else PageLink("see them", page)
        rows.append(row)
    return Table(rows)


def _link(record: Record, anchors: Mapping[Key, str]) -> Link:
    answer = NONE if record.answer is None else record.answer[:40]
    verdict = "right" if record.correct else "wrong"
    return Link(f"{answer} ({verdict})", anchors[record.key])
