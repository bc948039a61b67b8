"""A thought as the paper's figure of "43 x 34" has it: steps across, candidates down, colour by
weight, the token's text in each cell. The token that the step emitted has a frame."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sglang_soft.trace import Trace
from sglang_soft.view.visible import chip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Texts = Callable[[Sequence[int]], Sequence[str]]
"""The text of each of some tokens."""
SUFFIXES = (".png", ".pdf")
MOST_CELLS = 20_000
"""In one figure; each is a text that matplotlib lays out."""
CELL, GAP = (0.62, 0.21), 0.42
"""Width and height of a cell, and room under a band, in inches."""
LONGEST = 8
"""Characters of a token that fit into a cell."""
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Noto Sans",
         "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Emoji", "Symbola")  # fmt: skip
"""Asked in this order for each character, where they are installed. DejaVu comes with
matplotlib."""


class Cells(NamedTuple):
    """What is drawn: `n` steps of `c` candidates."""

    ids: np.ndarray
    """[n, c] int32"""
    weights: np.ndarray
    """[n, c] float32; 0: the cell is empty"""
    emitted: np.ndarray
    """[n] int32: the output token of each step"""
    first: int
    """Index of the first step in the thought."""


def cells(trace: Trace, steps: slice = slice(None), candidates: int | None = None) -> Cells:
    """candidates: rows; None: as many as carry at least 0.1% anywhere.

    Raises ValueError: there is no such step, or too much to draw.
    """
    if trace.start is None or not len(trace.steps):
        raise ValueError("the trace has no thinking step.")
    first, stop, _ = steps.indices(len(trace.steps))
    if stop <= first:
        raise ValueError(
            f"steps must name some of the {len(trace.steps)} steps; got {steps.start}:{steps.stop}."
        )
    at = slice(first, stop)
    ids, weights = trace.steps.ids_of(at), trace.steps.weights_of(at)
    order = np.argsort(-weights, axis=1, kind="stable")
    ids, weights = np.take_along_axis(ids, order, 1), np.take_along_axis(weights, order, 1)
    if candidates is None:
        candidates = max(1, int((weights >= 0.001).sum(1).max()))
    if not 1 <= candidates <= trace.steps.k:
        raise ValueError(f"candidates must be in [1, {trace.steps.k}]; got {candidates}.")
    if (count := (stop - first) * candidates) > MOST_CELLS:
        raise ValueError(
            f"{stop - first} steps of {candidates} candidates are {count} cells; at most "
            f"{MOST_CELLS} are drawn. Name fewer steps or candidates."
        )
    begin = trace.start - len(trace.prompt_ids) + first
    emitted = trace.output_ids[begin : begin + stop - first]
    return Cells(ids[:, :candidates], weights[:, :candidates], emitted, first)


def draw(drawn: Cells, texts: Texts | None, columns: int = 20, title: str = "") -> "Figure":
    """columns: steps in one band; more go into further bands. texts: None: ids are written.

    Raises ValueError.
    """
    from matplotlib.figure import Figure

    if columns < 1:
        raise ValueError(f"columns must be >= 1; got {columns}.")
    n, rows = drawn.ids.shape
    columns = min(columns, n)
    bands = -(-n // columns)
    band = rows * CELL[1] + GAP
    width, height = columns * CELL[0] + 1.3, bands * band + 0.45
    figure = Figure(figsize=(width, height), facecolor="white")
    font = _font()
    names = _names(drawn, texts, font)
    for b in range(bands):
        span = range(b * columns, min((b + 1) * columns, n))
        top = 1 - (0.35 + b * band) / height
        bottom = top - rows * CELL[1] / height
        axes = figure.add_axes((0.3 / width, bottom, len(span) * CELL[0] / width, top - bottom))
        _band(axes, drawn, span, names, font)
    _scale(figure, width, height)
    if title:
        figure.text(
            0.3 / width, 1 - 0.12 / height, font.drawable(title), fontsize=9, va="center",
            family=font.families, parse_math=False,
        )  # fmt: skip
    return figure


def save(figure: "Figure", file: Path) -> None:
    """As PNG or PDF, by the name. Raises ValueError: another one."""
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"a figure is written as {' or '.join(SUFFIXES)}; got {file}.")
    # The same thought gives the same file.
    fixed: Any = {"CreationDate": None} if file.suffix.lower() == ".pdf" else {"Software": None}
    figure.savefig(file, dpi=150, metadata=fixed)


def _band(
    axes: "Axes", drawn: Cells, span: range, names: Mapping[int, str], font: "_Font"
) -> None:  # fmt: skip
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    rows = drawn.ids.shape[1]
    weights = drawn.weights[span.start : span.stop].T
    colours = colormaps["YlGnBu"]
    shown = np.ma.masked_equal(weights, 0)
    axes.pcolormesh(shown, cmap=colours, vmin=0, vmax=1, edgecolors="white", linewidth=1)
    axes.set_xlim(0, len(span))
    axes.set_ylim(rows, 0)
    for x, step in enumerate(span):
        found = False
        for y in range(rows):
            weight, token = float(drawn.weights[step, y]), int(drawn.ids[step, y])
            if weight == 0:
                continue
            axes.text(
                x + 0.5, y + 0.52, names[token], ha="center", va="center",
                fontsize=7, color=_ink(weight), family=font.families,
                parse_math=False, clip_on=True,
            )  # fmt: skip
            if token == drawn.emitted[step] and not found:
                found = True
                frame = Rectangle((x + 0.03, y + 0.05), 0.94, 0.9, fill=False, lw=1.4, ec="#d62728")
                axes.add_patch(frame)
        if not found:  # it is not among the rows: its text stands above the column
            axes.text(
                x + 0.5, -0.05, names[int(drawn.emitted[step])], ha="center",
                va="bottom", fontsize=7, color="#d62728", family=font.families, parse_math=False,
            )  # fmt: skip
    axes.set_xticks([x + 0.5 for x in range(len(span))])
    axes.set_xticklabels([str(drawn.first + step) for step in span], fontsize=6)
    axes.set_yticks([])
    axes.tick_params(length=0, pad=2)
    for side in axes.spines.values():
        side.set_visible(False)


def _ink(weight: float) -> str:
    """Legible on the colour of its weight; faint where there is nearly none."""
    return "white" if weight > 0.55 else "black" if weight >= 0.005 else "#9a9a9a"


def _scale(figure: "Figure", width: float, height: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    tall = min(1.4, height - 0.6)
    place = (1 - 0.75 / width, 1 - (0.35 + tall) / height, 0.12 / width, tall / height)
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), "YlGnBu"), cax=figure.add_axes(place), ticks=[0, 0.5, 1]
    )
    bar.ax.tick_params(labelsize=7, length=2)
    bar.ax.set_title("weight", fontsize=7)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _names(drawn: Cells, texts: Texts | None, font: "_Font") -> dict[int, str]:
    """What is written of each token that is drawn."""
    ids = np.unique(np.concatenate([drawn.ids[drawn.weights != 0], drawn.emitted])).tolist()
    found = map(str, ids) if texts is None else (font.drawable(chip(t)) for t in texts(ids))
    return {i: t if len(t) <= LONGEST else t[: LONGEST - 1] + "…" for i, t in zip(ids, found)}


class _Font(NamedTuple):
    families: list[str]
    """The installed ones of FONTS."""
    characters: frozenset[int]
    """Those that one of them has."""

    def drawable(self, text: str) -> str:
        """Characters that no font has are named: an empty box tells nothing. So are the pictures of
        control characters, as those characters."""
        return "".join(c if ord(c) in self.characters else _named(ord(c)) for c in text)


def _named(code: int) -> str:
    return f"\\u{{{code - 0x2400 if 0x2400 <= code < 0x2420 else code:X}}}"


def _font() -> _Font:
    from matplotlib import font_manager, ft2font

    installed = {entry.name: entry.fname for entry in font_manager.fontManager.ttflist}
    families = [name for name in FONTS if name in installed]
    known = (ft2font.FT2Font(installed[name]).get_charmap() for name in families)
    return _Font(families, frozenset().union(*known))
