"""Accuracy against tokens, with the Pareto front, as inline SVG."""

import io
import re
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sglang_soft_evals.report import document
from sglang_soft_evals.report.labels import Label, place_labels
from sglang_soft_evals.report.measures import Measures
from sglang_soft_evals.report.pareto import Point, crowd, front
from sglang_soft_evals.statistics import Estimate

# Okabe and Ito's colour-blind-safe palette without black and yellow, which cannot be seen on a dark
# or a light page. Markers differ too, so no method is known by its colour alone.
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
FRONT_LINE: Any = {
    "drawstyle": "steps-post",
    "linewidth": 1.4,
    "linestyle": (0, (5, 3)),
    "color": INK,
    "alpha": 0.55,
}


def figures(
    benchmark: str, measures: Mapping[str, Measures], baseline: str, name: str
) -> list[document.Block]:
    """One plot of all methods, and a closer one if some methods are far from the others.

    name: unique on the page.
    """
    spots = [
        Point(method, m.tokens, Estimate(*(100 * x for x in m.accuracy)))
        for method, m in measures.items()
        if m.tokens and m.accuracy
    ]
    if not spots:
        return []
    best = ", ".join(p.name for p in front(spots))
    caption = (
        f"Accuracy against tokens on {benchmark}. Bars: 95% intervals by question. Dashed line and "
        f"filled marks: the Pareto front of the observed means ({best}); no other method has as "
        f"few tokens and as high an accuracy. Star: {baseline}."
    )
    near = crowd(spots, baseline)
    if not 2 <= len(near) < len(spots):
        return [document.Figure(plot(spots, spots, spots, baseline, name), caption)]
    far = [p for p in spots if p not in near]
    all_of_them = plot(spots, spots, far, baseline, name)
    closer = f"The same, closer, without {', '.join(p.name for p in far)}."
    return [
        document.Figure(all_of_them, f"{caption} The next plot names the crowded marks."),
        document.Figure(plot(spots, near, near, baseline, f"{name}-near"), closer),
    ]


def plot(
    points: Sequence[Point],
    shown: Sequence[Point],
    named: Sequence[Point],
    baseline: str,
    name: str,
) -> str:
    """SVG of some points with 95% intervals on both axes, and the Pareto front of all.

    Args:
        points: all points; a method has the same colour and marker whichever are shown.
        shown: the points to draw; those on the front are filled.
        named: the points that get a label.
        baseline: the point that is drawn as a star.
        name: unique on the page; begins every id inside.
    """
    best = front(points)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 5.0), layout="constrained")
        canvas = FigureCanvasAgg(figure)  # measures the labels
        axes = figure.add_subplot()
        steps = [p for p in best if p in shown]
        tokens, accuracy = [p.tokens.value for p in steps], [p.accuracy.value for p in steps]
        axes.plot(tokens, accuracy, zorder=1, **FRONT_LINE)
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
    return inline(out.getvalue(), name)


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
    """Value and both ends; no bar if one question gives no interval."""
    value = estimate.value
    return (value, value, value) if isnan(estimate.low) else (value, estimate.low, estimate.high)


def inline(svg: str, name: str) -> str:
    """Without XML header, in the page's text colour, with ids that no other figure has."""
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
