"""The picture: probability of the right answer against the steps of the thought."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from launch.counterfactual.measure import CHANGES, UNCHANGED, Found, interval

COLORS = {CHANGES[0]: "#0072B2", CHANGES[1]: "#D55E00", CHANGES[2]: "#CC79A7"}
GREY = "#9A9A9A"


def draw(found: Found, file: Path) -> None:
    """A column a step, with the token that it emitted. Above: the answer right after the step;
    below, a panel a change: after the thought went on from it."""
    count = len(found.tokens)
    with mpl.rc_context({"font.family": "sans-serif", "font.size": 9}):
        figure = Figure(figsize=(max(7.0, 0.145 * count), 6.6), layout="constrained")
        figure.suptitle(f"{found.question}  Which step decides the answer?")
        known, *others = figure.subplots(1 + len(CHANGES), 1, sharex=True)
        steps = np.arange(count)
        known.step(steps, found.known[1:], where="mid", color="#000000", linewidth=1.6)
        known.set_ylabel("answered\nat once")
        for axes, change in zip(others, CHANGES, strict=True):
            _after(axes, found, change)
        for axes in (known, *others):
            axes.set_ylim(-0.06, 1.06)
            axes.grid(axis="y", color="black", alpha=0.12, linewidth=0.7)
            axes.spines[["top", "right"]].set_visible(False)
        labels = [token.strip(" ").replace("\n", "\\n") for token in found.tokens]
        axes.set_xticks(steps, labels, family="monospace", fontsize=8)
        for label in axes.get_xticklabels():
            label.set_rotation(90 if len(label.get_text()) > 1 else 0)
        axes.set_xlim(-0.7, count - 0.3)
        axes.set_xlabel("thinking step, by the token that it emitted")
        figure.supylabel(f"share or probability of {found.right}", fontsize=9)
        figure.savefig(file, dpi=120, facecolor="white")


def _after(axes: Axes, found: Found, change: str) -> None:
    steps = np.arange(len(found.tokens))
    for name in (UNCHANGED, change):
        hits = found.drawn[name]
        shares = np.array(hits) / found.n
        low, high = np.array([interval(h, found.n) for h in hits]).T
        if name == UNCHANGED:
            axes.fill_between(steps, low, high, color=GREY, alpha=0.3, linewidth=0)
            axes.plot(steps, shares, color=GREY, linewidth=1.2)
        else:
            axes.errorbar(
                steps, shares, [shares - low, high - shares], color=COLORS[change], marker="o",
                markersize=3.5, linewidth=0, elinewidth=1.2,
            )  # fmt: skip
    axes.set_ylabel(change.replace(" ", "\n"))
