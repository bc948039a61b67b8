"""Names next to the points of a plot, so that they do not overlap.

adjustText was tried on the figures of the reports: it puts names on marks and error bars that this
search keeps clear.
"""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_AROUND = ((1, 0.7), (1, -0.7), (-1, 0.7), (-1, -0.7), (0, 1), (0, -1), (1, 0), (-1, 0))
_OFFSETS = [(dx * radius, dy * radius) for radius in (10, 18, 28, 40, 54) for dx, dy in _AROUND]
"""In points, nearest first."""
_NEAR = 12
"""In points; a name that is farther away gets a thin line to its mark."""


class Label(NamedTuple):
    """A name, its point and the ends of the error bars through it, in the units of the axes."""

    name: str
    x: float
    left: float
    right: float
    y: float
    low: float
    high: float


def place_labels(canvas: FigureCanvasAgg, axes: Axes, points: Sequence[Label], ink: str) -> None:
    """Write each name at the offset where it covers least of what is already there.

    A point with an empty name is only kept clear. The figure must have its final layout, because
    sizes are measured on its canvas.
    """
    line = {"arrowstyle": "-", "color": ink, "alpha": 0.5, "linewidth": 0.6}
    spots = [axes.transData.transform((p.x, p.y)) for p in points]
    bars = [bar for p in points for bar in _bars(axes, p)]
    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in spots]
    inside = Bbox.from_extents(
        axes.bbox.x0, axes.bbox.y0, canvas.figure.bbox.x1, canvas.figure.bbox.y1
    )
    for point in filter(lambda p: p.name, points):
        tried: list[tuple[float, int, Text, Bbox]] = []
        for order, (dx, dy) in enumerate(_OFFSETS):
            text = axes.annotate(
                point.name,
                (point.x, point.y),
                xytext=(dx, dy),
                textcoords="offset points",
                parse_math=False,  # a dollar sign in a name is one
                ha="left" if dx > 0 else "right" if dx < 0 else "center",
                va="bottom" if dy > 0 else "top" if dy < 0 else "center",
                arrowprops=line if max(abs(dx), abs(dy)) > _NEAR else None,
            )
            text.update_positions(canvas.get_renderer())
            box = Text.get_window_extent(text, canvas.get_renderer())  # without its line
            tried.append((_cost(box, taken, bars, inside), order, text, box))
            if tried[-1][0] == 0:
                break
        best = min(tried, key=lambda t: t[:2])
        for other in tried:
            if other is not best:
                other[2].remove()
        taken.append(best[3])


def _bars(axes: Axes, label: Label) -> list[Bbox]:
    (x0, y), (x1, _) = axes.transData.transform([(label.left, label.y), (label.right, label.y)])
    (x, y0), (_, y1) = axes.transData.transform([(label.x, label.low), (label.x, label.high)])
    return [Bbox.from_extents(x0, y - 1, x1, y + 1), Bbox.from_extents(x - 1, y0, x + 1, y1)]


def _cost(box: Bbox, taken: Sequence[Bbox], bars: Sequence[Bbox], inside: Bbox) -> float:
    """Outside the plot is worst, then on another name or mark; on an error bar is least bad."""
    within = inside.x0 <= box.x0 and box.x1 <= inside.x1
    outside = not (within and inside.y0 <= box.y0 and box.y1 <= inside.y1)
    covered = sum(bool(box.overlaps(other)) for other in taken)
    return 6.0 * outside + 4.0 * covered + sum(bool(box.overlaps(bar)) for bar in bars)
