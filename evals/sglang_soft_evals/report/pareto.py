"""Accuracy against tokens, with the Pareto front, as one inline SVG."""

import io
import re
from collections.abc import Sequence
from math import isnan
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sglang_soft_evals.report.labels import Label, place_labels
from sglang_soft_evals.statistics import Estimate

# Okabe and Ito's colour-blind-safe palette without black and yellow, which vanish on a dark or a
# light page. Markers differ too, so no method is told by its colour alone.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "v", "P", "X", "D")
INK = "#010203"
"""Stands for the page's text colour: becomes `currentColor`, so the plot follows a dark page."""
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sglang-soft",  # the same run gives the same bytes
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


class Point(NamedTuple):
    name: str
    tokens: Estimate
    accuracy: Estimate
    """In percent."""


def front(points: Sequence[Point]) -> list[Point]:
    """Points that no other equals or beats on both tokens and accuracy, by tokens; observed means
    only."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.tokens.value, -p.accuracy.value)):
        equal = kept and (kept[-1].tokens.value, kept[-1].accuracy.value) == (
            point.tokens.value,
            point.accuracy.value,
        )
        if not kept or equal or point.accuracy.value > kept[-1].accuracy.value:
            kept.append(point)
    return kept


def crowd(points: Sequence[Point], baseline: str) -> list[Point]:
    """The points without those that lie far off (beyond Tukey's outer fences) and press the others
    together.

    The front and the baseline always stay.
    """
    best = front(points)
    tokens, accuracy = (
        _fences([p.tokens.value for p in points]),
        _fences([p.accuracy.value for p in points]),
    )
    return [
        p
        for p in points
        if p in best
        or p.name == baseline
        or (
            tokens[0] <= p.tokens.value <= tokens[1]
            and accuracy[0] <= p.accuracy.value <= accuracy[1]
        )
    ]


def _fences(values: Sequence[float]) -> tuple[float, float]:
    low, high = (float(np.quantile(values, q)) for q in (0.25, 0.75))
    return low - 3 * (high - low), high + 3 * (high - low)


def plot(
    points: Sequence[Point],
    shown: Sequence[Point],
    named: Sequence[Point],
    baseline: str,
    name: str,
) -> str:
    """SVG of the shown points with 95% intervals on both axes and the front of all.

    Marks on the front are filled, the named points get a label, and a method looks the same
    whichever are shown. `name` is unique on the page.
    """
    best = front(points)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 5.0), layout="constrained")
        canvas = FigureCanvasAgg(figure)  # measures the labels
        axes = figure.add_subplot()
        steps = [p for p in best if p in shown]
        dashes: Any = (0, (5, 3))
        line = {
            "drawstyle": "steps-post",
            "linewidth": 1.4,
            "linestyle": dashes,
            "color": INK,
            "alpha": 0.55,
        }
        axes.plot(
            [p.tokens.value for p in steps], [p.accuracy.value for p in steps], zorder=1, **line
        )
        for index, point in enumerate(points):
            if point in shown:
                _mark(axes, point, index, point.name == baseline, point in best)
        axes.set_xlabel("mean tokens of an answer, thinking and answer together")
        axes.set_ylabel("accuracy (pass@1), %")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(color=INK, alpha=0.12, linewidth=0.7)
        axes.margins(0.1)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # labels must not move what they were measured against
        labels = [
            Label(p.name if p in named else "", *_bars(p.tokens), *_bars(p.accuracy)) for p in shown
        ]
        place_labels(canvas, axes, labels, INK)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _inline(out.getvalue(), name)


def _mark(axes: Axes, point: Point, index: int, is_baseline: bool, filled: bool) -> None:
    (x, left, right), (y, low, high) = _bars(point.tokens), _bars(point.accuracy)
    colour = INK if is_baseline else COLOURS[index % len(COLOURS)]
    axes.errorbar(
        x,
        y,
        xerr=[[x - left], [right - x]],
        yerr=[[y - low], [high - y]],
        marker="*" if is_baseline else MARKERS[index % len(MARKERS)],
        markersize=13 if is_baseline else 8,
        color=colour,
        markerfacecolor=colour if filled else "none",
        elinewidth=1.1,
        zorder=2,
    )


def _bars(estimate: Estimate) -> tuple[float, float, float]:
    """Value and both ends; no bar where one question gives no interval."""
    value = estimate.value
    return (value, value, value) if isnan(estimate.low) else (value, estimate.low, estimate.high)


def _inline(svg: str, name: str) -> str:
    """Fit for a page: no XML header, the page's ink, ids that no other figure has."""
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(
        r'<svg[^>]*?viewBox="([^"]+)"[^>]*>',
        r'<svg viewBox="\1" role="img" class="plot">',
        svg,
        count=1,
    )
