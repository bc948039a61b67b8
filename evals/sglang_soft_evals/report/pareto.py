"""Accuracy against tokens, with the Pareto front, as one inline SVG."""

import io
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sglang_soft_evals.report.labels import place_labels
from sglang_soft_evals.statistics import Estimate

# Okabe and Ito's colour-blind-safe palette without black and yellow, which vanish on a dark or a light page. Markers
# differ too, so no method is told by its colour alone.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "v", "P", "X", "D")
INK = "#010203"
"""Stands for the page's text colour: becomes `currentColor`, so the plot follows a dark page."""
STYLE: dict[str, Any] = {
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


def front(points: Sequence[Point]) -> list[Point]:
    """Points that no other beats on tokens or accuracy without losing on the other; by tokens, observed means only."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.tokens.value, -p.accuracy.value)):
        equal = kept and kept[-1].tokens.value == point.tokens.value and kept[-1].accuracy.value == point.accuracy.value
        if not kept or equal or point.accuracy.value > kept[-1].accuracy.value:
            kept.append(point)
    return kept


def plot(points: Sequence[Point], baseline: str, name: str) -> str:
    """SVG of the points with 95% intervals on both axes, the front's filled. `name` is unique on the page."""
    best = front(points)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 5.2), layout="constrained")
        canvas = FigureCanvasAgg(figure)  # measures the labels
        axes = figure.add_subplot()
        axes.plot(
            [p.tokens.value for p in best],
            [100 * p.accuracy.value for p in best],
            drawstyle="steps-post",
            color=INK,
            alpha=0.55,
            linewidth=1.4,
            linestyle=(0, (5, 3)),
            zorder=1,
        )
        for index, point in enumerate(points):
            x, y, scaled = point.tokens, 100 * point.accuracy.value, [100 * v for v in point.accuracy]
            colour = INK if point.name == baseline else COLOURS[index % len(COLOURS)]
            axes.errorbar(
                x.value,
                y,
                xerr=None if x.low != x.low else [[x.value - x.low], [x.high - x.value]],
                yerr=[[y - scaled[2]], [scaled[3] - y]],
                marker="*" if point.name == baseline else MARKERS[index % len(MARKERS)],
                markersize=12 if point.name == baseline else 8,
                color=colour,
                markerfacecolor=colour if point in best else "none",
                elinewidth=1.1,
                capsize=0,
                zorder=2,
            )
        axes.set_xlabel("mean tokens of an answer, thinking and answer together")
        axes.set_ylabel("accuracy (pass@1), %")
        axes.grid(color=INK, alpha=0.12, linewidth=0.7)
        axes.margins(0.1)
        figure.draw_without_rendering()
        place_labels(canvas, axes, [(p.name, p.tokens.value, 100 * p.accuracy.value) for p in points], INK)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _inline(out.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    """Fit for a page: no XML header, the page's ink, ids that no other figure has."""
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r'<svg[^>]*?viewBox="([^"]+)"[^>]*>', r'<svg viewBox="\1" role="img" class="plot">', svg, count=1)
