"""The picture of `make train-soft`: accuracy on held-out questions against training steps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from launch.train_soft.run import Found

STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
COLOURS = {"multiplex": "#D55E00", "cot": "#000000", "soft_gumbel": "#0072B2"}


def draw(runs: Mapping[str, Found], file: Path) -> None:
    """runs: by method."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        for method, found in runs.items():
            steps, colour = list(found.curve), COLOURS.get(method)
            values = [found.at(step) for step in steps]
            axes.plot(steps, [100 * v.value for v in values], "o-", color=colour, label=method)
            low, high = (
                [100 * bound for bound in b] for b in zip(*((v.low, v.high) for v in values))
            )
            axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set_xlabel("training steps")
        axes.set_ylabel("held-out questions right, %")
        axes.grid(color="black", alpha=0.12, linewidth=0.7)
        axes.legend(frameon=False, loc="lower right")
        figure.savefig(file, dpi=110, facecolor="white")
