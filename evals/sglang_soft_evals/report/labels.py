"""Names beside the points of a plot, without lying on each other."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_AROUND = ((1, 0.7), (1, -0.7), (-1, 0.7), (-1, -0.7), (0, 1), (0, -1), (1, 0), (-1, 0))
_OFFSETS = [(dx * radius, dy * radius) for radius in (10, 20, 34, 50) for dx, dy in _AROUND]
"""In points, nearest first."""
_NEAR = 12
"""Points from which on a thin line leads back to the mark."""


def place_labels(canvas: FigureCanvasAgg, axes: Axes, points: Sequence[tuple[str, float, float]], ink: str) -> None:
    """Write each name of [(name, x, y)] at the offset where it covers least of what is already there.

    The figure must have been laid out before, for sizes are measured on its canvas.
    """
    spots = [axes.transData.transform((x, y)) for _, x, y in points]
    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in spots]
    inside = Bbox.from_extents(axes.bbox.x0, axes.bbox.y0, canvas.figure.bbox.x1, canvas.figure.bbox.y1)
    for (name, x, y), spot in zip(points, spots):
        tried: list[tuple[float, int, Text, Bbox]] = []
        for order, (dx, dy) in enumerate(_OFFSETS):
            text = axes.annotate(
                name,
                (x, y),
                xytext=(dx, dy),
                textcoords="offset points",
                ha="left" if dx > 0 else "right" if dx < 0 else "center",
                va="bottom" if dy > 0 else "top" if dy < 0 else "center",
                arrowprops={"arrowstyle": "-", "color": ink, "alpha": 0.5, "linewidth": 0.6}
                if max(abs(dx), abs(dy)) > _NEAR
                else None,
            )
            box = Text.get_window_extent(text, canvas.get_renderer())  # without its line
            tried.append((_cost(box, spot, taken, inside), order, text, box))
            if tried[-1][0] == 0:
                break
        best = min(tried, key=lambda t: t[:2])
        for _, _, text, _ in tried:
            if text is not best[2]:
                text.remove()
        taken.append(best[3])


def _cost(box: Bbox, spot: tuple[float, float], taken: Sequence[Bbox], inside: Bbox) -> float:
    """Off the plot is worst, then another name or mark; an error bar through the text hurts least."""
    crossed = box.x0 < spot[0] < box.x1 or box.y0 < spot[1] < box.y1
    outside = not (inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1)
    return 6.0 * outside + 4.0 * sum(box.overlaps(other) for other in taken) + crossed
