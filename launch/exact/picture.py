"""The picture of `chaos`: relative difference of the logits against the step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from launch.exact.configurations import BITS, DRAWN, GREEDY, SOFT, grid

TITLES = {"toy": "bundled toy model", "smollm2": "SmolLM2-135M-Instruct"}
FLOOR = 1e-10
"""Smaller differences are drawn here; an axis of logarithms has no 0."""
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
LINES: dict[str, dict[str, Any]] = {
    GREEDY: {"color": "#000000", "linestyle": (0, (5, 2)), "linewidth": 1.8},
    DRAWN: {"color": "#000000", "linestyle": (0, (1, 1.5)), "linewidth": 1.8},
    SOFT: {"color": "#D55E00", "linewidth": 2.6},
}
BLUES = ("#9ECAE1", "#4A98C9", "#1764AB", "#08306B")
"""Of the grids, from fine to coarse."""
PALETTE = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C510A")
"""Okabe and Ito's colours without black, yellow and soft's; brown is added."""
DASHES = ("-", (0, (4, 1.5)))
"""A second round of the palette is dashed."""


def draw(found: Mapping[str, Any], file: Path) -> None:
    """found: by model, `figures` of chaos. A column a model: above discrete, soft and its grids,
    below the other methods."""
    grids = {grid(bits).name: {"color": c, "linewidth": 1.8} for bits, c in zip(BITS, BLUES)}
    upper = LINES | grids
    names = list(next(iter(found.values()))["disturbed"])
    others = [name for name in names if name not in upper]
    lower = {SOFT: LINES[SOFT]} | {
        name: {
            "color": PALETTE[i % len(PALETTE)],
            "linestyle": DASHES[i // len(PALETTE) % 2],
            "linewidth": 1.5,
        }
        for i, name in enumerate(others)
    }
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 8.2), layout="constrained")
        figure.suptitle("An error of 1e-6 in one input embedding of a thought")
        panels = figure.subplots(2, len(found), sharex="col", sharey=True, squeeze=False)
        for at, (row, lines) in enumerate(zip(panels, (upper, lower), strict=True)):
            for axes, (name, one) in zip(row, found.items(), strict=True):
                _panel(axes, one["disturbed"], lines)
                if at == 0:
                    axes.set_title(TITLES[name])
                else:
                    axes.set_xlabel("thinking steps after it")
            row[0].set_ylabel("median relative difference of logits")
            row[-1].legend(
                loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, handlelength=2.6
            )
        figure.savefig(file, dpi=110, facecolor="white")


def _panel(axes: Axes, found: Mapping[str, Any], lines: Mapping[str, Any]) -> None:
    for name, style in lines.items():
        if name in found:
            values = [max(v, FLOOR) for v in found[name]["median"]]
            axes.plot(values, label=name, zorder=3 if name == SOFT else 2, **style)
    axes.set_yscale("log")
    axes.set_ylim(FLOOR, 3)
    axes.grid(color="black", alpha=0.12, linewidth=0.7)
    axes.margins(x=0)
