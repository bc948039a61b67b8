"""Every thinking method against discrete decoding, in one run; for `cpu` and `gpu`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from launch.bench.requests import Asked
from launch.bench.turns import Deadline, markdown, paired_ratio, spread, take_turns

DISCRETE = "discrete"
Rate = Callable[[Asked], float]
"""Output tokens a second of what is asked (see `requests`); None: discrete."""


def method_names() -> list[str]:
    from sglang_soft import methods

    return list(methods.names())


def measure_methods(
    rates: Mapping[str, Rate],
    rounds: int,
    deadline: Deadline | None = None,
    asked: Mapping[str, Asked] | None = None,
) -> dict[str, dict[str, list[float]]]:
    """[rounds] figures by side and row, discrete among them; all take turns. rates: by side (an
    engine). asked: what each row asks for; None: every method."""
    methods = {name: name for name in method_names()} if asked is None else asked
    names: dict[str, Asked] = {DISCRETE: None, **methods}
    measured = take_turns(
        {
            f"{name} {side}": partial(rate, method)
            for name, method in names.items()
            for side, rate in rates.items()
        },
        rounds,
        deadline,
    )
    return {side: {name: measured[f"{name} {side}"] for name in names} for side in rates}


def methods_table(figures: Mapping[str, Mapping[str, Sequence[float]]], digits: int = 0) -> str:
    """Markdown. digits: of the rates. A second side gets a column of its own, and one of ratios of
    the first to it."""
    (ours, first), *others = figures.items()
    header = ["method", f"tokens/s{ours}: median (min .. max)", "method / discrete"]
    for side, _ in others:
        header += [f"tokens/s{side}", f"this / {side.strip(', ')}"]
    rows = []
    for name, values in first.items():
        cells = [name, spread(values, digits)]
        cells.append("" if name == DISCRETE else str(paired_ratio(values, first[DISCRETE])))
        for _, theirs in others:
            cells += [spread(theirs[name], digits), str(paired_ratio(values, theirs[name]))]
        rows.append(cells)
    return markdown(header, rows)


def empty_table() -> str:
    """The table of a dry run."""
    rows = [[name, "", ""] for name in [DISCRETE, *method_names()]]
    return markdown(["method", "tokens/s: median (min .. max)", "method / discrete"], rows)
