"""Is a thought that ends with low entropy more often wrong?"""

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from sglang_soft.trace import THINK_END_REASONS
from sglang_soft_evals.record import Record
from sglang_soft_evals.report.document import Cell, Table
from sglang_soft_evals.report.measures import Questions
from sglang_soft_evals.report.numbers import NONE, interval, number, percent
from sglang_soft_evals.report.plot import COLOURS, MARKERS
from sglang_soft_evals.statistics import Estimate, auc, auc_within, fraction

KINDS = {"final_entropy": "at its end", "mean_entropy": "mean"}
"""Field of a record -> which entropy of a thought it is."""
BINS = 5
_LEAST = 50
"""Thoughts of a method below which it is not shown."""
_NOTE = f"""\
Thoughts that ended, by their entropy in nats: at the step that ended the thought, or the mean of
its steps. Accuracy by fifth of the thoughts, the lowest entropy first, over the samples of a
question in it, then over questions; equal entropies are never parted, so that fifths may be unequal
or missing. AUC: of a wrong and a right answer, the chance that the wrong one's thought has the
higher entropy; 0.5 tells nothing, below 0.5 low entropy is wrong more often. Within a question:
only pairs of one question, so that its difficulty has no part. Brackets: 95% intervals, by
question, not adjusted. Methods with fewer than {_LEAST} such thoughts, or without entropies
(discrete requests), are left out."""


class Bin(NamedTuple):
    fifth: int
    """1: of the lowest entropies."""
    entropy: float
    """Mean of its thoughts, in nats."""
    thoughts: int
    accuracy: Estimate


class Found(NamedTuple):
    method: str
    kind: str
    """A key of KINDS."""
    thoughts: int
    wrong: int
    bins: list[Bin]
    auc: Estimate | None
    within: Estimate | None


def look(method: str, questions: Questions) -> list[Found]:
    """Both entropies of one method; empty: too few thoughts have any."""
    found = []
    for kind in KINDS:
        every = [r for records in questions.values() for r in records]
        thoughts = [r for r in every if _counts(r, kind)]
        if len(thoughts) >= _LEAST:
            values = np.array([float(getattr(r, kind)) for r in thoughts])
            wrong, names = [not r.correct for r in thoughts], [r.question for r in thoughts]
            bins = _bins(values, thoughts)
            told = (auc(values, wrong, names), auc_within(values, wrong, names))
            found.append(Found(method, kind, len(thoughts), sum(wrong), bins, *told))
    return found


def _counts(record: Record, kind: str) -> bool:
    value = getattr(record, kind)
    ended = record.thinking_finish_reason in THINK_END_REASONS.values()
    graded = record.graded and not record.error and not record.failed
    return ended and graded and value is not None and isfinite(value)


def _bins(values: np.ndarray, thoughts: Sequence[Record]) -> list[Bin]:
    edges = np.quantile(values, np.arange(1, BINS) / BINS)
    place = np.searchsorted(edges, values, side="left")
    found = []
    for fifth in np.unique(place):
        mine = place == fifth
        of: dict[str, list[bool]] = {}
        for record in (r for r, inside in zip(thoughts, mine, strict=True) if inside):
            of.setdefault(record.question, []).append(record.correct)
        means = np.array([np.mean(right) for right in of.values()])
        count = int(mine.sum())
        found.append(
            Bin(int(fifth) + 1, float(values[mine].mean()), count, fraction(means, count, 0.95))
        )
    return found


def table(found: Sequence[Found]) -> Table:
    rows: list[dict[str, Cell]] = []
    for one in found:
        row: dict[str, Cell] = {
            "method": one.method,
            "entropy": KINDS[one.kind],
            "thoughts": number(one.thoughts),
            "wrong": number(one.wrong),
        }
        of = {b.fifth: percent(b.accuracy) for b in one.bins}
        row |= {f"fifth {fifth}": of.get(fifth, NONE) for fifth in range(1, BINS + 1)}
        row["AUC"] = _auc(one.auc)
        row["AUC within a question"] = _auc(one.within)
        rows.append(row)
    return Table(rows, " ".join(_NOTE.split()))


def _auc(estimate: Estimate | None) -> str:
    if estimate is None:
        return NONE
    return f"{estimate.value:.2f} {interval(estimate.low, estimate.high, digits=2)}"


def to_json(found: Sequence[Found]) -> list[dict[str, Any]]:
    """What the picture is drawn from."""
    return [
        {
            "method": one.method,
            "kind": one.kind,
            "bins": [
                [b.fifth, *(100 * x for x in (b.accuracy.value, b.accuracy.low, b.accuracy.high))]
                for b in one.bins
            ],
        }
        for one in found
    ]


def draw(found: Sequence[dict[str, Any]], ink: str) -> Figure:
    """A panel for each entropy; a line for each method. found: `to_json`."""
    figure = Figure(figsize=(9.4, 3.9), layout="constrained")
    methods = list(dict.fromkeys(one["method"] for one in found))
    for axes, (kind, name) in zip(figure.subplots(1, 2, sharey=True), KINDS.items(), strict=True):
        for one in (one for one in found if one["kind"] == kind):
            place = methods.index(one["method"])
            aside = 0.08 * (place - (len(methods) - 1) / 2)  # so that bars do not hide each other
            x, y, low, high = np.array(one["bins"]).T
            axes.errorbar(
                x + aside, y, [y - low, high - y], label=one["method"], elinewidth=0.8,
                linewidth=1.2, marker=MARKERS[place % len(MARKERS)],
                color=COLOURS[place % len(COLOURS)],
            )  # fmt: skip
        axes.set_xticks(range(1, BINS + 1))
        axes.set_xlabel(f"fifth of the thoughts by entropy, {name}; lowest first")
        axes.grid(color=ink, alpha=0.12, linewidth=0.7)
    figure.axes[0].set_ylabel("accuracy, %")
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside lower center",
        ncols=len(methods), frameon=False, fontsize=8.5,
    )  # fmt: skip
    return figure
