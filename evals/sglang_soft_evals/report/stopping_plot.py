"""Accuracy against tokens with stop rules and their controls: one panel for each method."""

from collections.abc import Mapping, Sequence
from math import ceil, isnan
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sglang_soft_evals.controls_asked import KINDS
from sglang_soft_evals.report.measures import Measures
from sglang_soft_evals.report.pareto import Point, front
from sglang_soft_evals.report.plot import COLOURS, FRONT_LINE, MARKERS
from sglang_soft_evals.report.stopping import Group
from sglang_soft_evals.statistics import Estimate

NO_RULE = "none"
_COLUMNS = 3
_SIZES = {"rule": 8.0, "budget": 8.0, "random": 4.5}


class Spot(NamedTuple):
    """One mark. Accuracy in percent with its interval."""

    method: str
    rule: str
    kind: str
    """`rule`, or that of its control."""
    tokens: float
    accuracy: float
    low: float
    high: float


def spots(groups: Sequence[Group], measures: Mapping[str, Measures]) -> list[Spot]:
    """Of everything that has a score."""
    found = []
    for group in groups:
        named = [(NO_RULE, "rule", group.plain)]
        for variant in group.variants:
            named.append((variant.rule, "rule", variant.name))
            named += [(variant.rule, kind, variant.controls[kind] or "") for kind in KINDS]
        for rule, kind, name in named:
            m = measures.get(name)
            if m is not None and m.tokens is not None and m.accuracy is not None:
                value, _, low, high = (100 * x for x in m.accuracy)
                found.append(Spot(group.plain, rule, kind, m.tokens.value, value, low, high))
    return found


def panels(found: Sequence[Spot], ink: str) -> Figure:
    """A figure without a canvas. ink: colour of lines and text."""
    methods = list(dict.fromkeys(spot.method for spot in found))
    rules = list(dict.fromkeys(spot.rule for spot in found if spot.rule != NO_RULE))
    columns = min(_COLUMNS, len(methods))
    rows = ceil(len(methods) / columns)
    figure = Figure(figsize=(1.2 + 3.2 * columns, 1.4 + 2.6 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, sharex=True, squeeze=False).ravel())
    for place, (axes, method) in enumerate(zip(grid, methods, strict=False)):
        _panel(axes, [spot for spot in found if spot.method == method], rules, ink)
        axes.set_title(method, fontsize=10)
        axes.tick_params(labelbottom=True)
        if place + columns >= len(methods):
            axes.set_xlabel("tokens of an answer")
        if place % columns == 0:
            axes.set_ylabel("accuracy, %")
    for axes in grid[len(methods) :]:
        axes.axis("off")
    figure.legend(
        handles=_legend(rules, ink), loc="outside lower center", ncols=columns + 1,
        frameon=False, fontsize=8.5,
    )  # fmt: skip
    return figure


def _panel(axes: Axes, mine: Sequence[Spot], rules: Sequence[str], ink: str) -> None:
    best = front([Point(spot.rule, _exact(spot.tokens), _exact(spot.accuracy)) for spot in mine])
    line = FRONT_LINE | {"color": ink}
    axes.plot([p.tokens.value for p in best], [p.accuracy.value for p in best], zorder=1, **line)
    for spot in mine:
        style = _style(spot.rule, spot.kind, rules, ink)
        bars = (
            None if isnan(spot.low) else [[spot.accuracy - spot.low], [spot.high - spot.accuracy]]
        )
        axes.errorbar(spot.tokens, spot.accuracy, bars, elinewidth=0.7, zorder=2, **style)
    axes.grid(color=ink, alpha=0.12, linewidth=0.7)
    axes.margins(0.08)


def _style(rule: str, kind: str, rules: Sequence[str], ink: str) -> dict[str, Any]:
    if rule == NO_RULE:
        return {"marker": "*", "markersize": 12, "color": ink, "linestyle": "none"}
    place = rules.index(rule)
    colour = COLOURS[place % len(COLOURS)]
    return {
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": _SIZES[kind],
        "color": colour,
        "markerfacecolor": colour if kind == "rule" else "none",
        "linestyle": "none",
        "alpha": 0.9,
    }


def _legend(rules: Sequence[str], ink: str) -> list[Line2D]:
    shown = [("no rule", NO_RULE, "rule"), *((rule, rule, "rule") for rule in rules)]
    if rules:
        shown.append(("hollow: its budget", rules[0], "budget"))
        shown.append(("small and hollow: its random stop", rules[0], "random"))
    lines = [
        Line2D([], [], label=text, **_style(rule, kind, rules, ink)) for text, rule, kind in shown
    ]
    return [*lines, Line2D([], [], label="Pareto front", **(FRONT_LINE | {"color": ink}))]


def _exact(value: float) -> Estimate:
    return Estimate(value, 0.0, value, value)
