"""Figures that can be compared: measured in turns, in paired rounds, with their spread."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from sglang_soft.server.markdown import table as markdown_table


class Deadline:
    """The end of a command's time."""

    def __init__(self, seconds: float = math.inf) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds; negative after the end, infinite without one."""
        return self._end - time.monotonic()


def take_turns(
    runs: Mapping[str, Callable[[], float]], rounds: int, deadline: Deadline | None = None
) -> dict[str, list[float]]:
    """Measure every run once a round, in rotating order, so that noise of the machine falls on all
    alike. Each runs once before, unmeasured.

    Returns [rounds] figures by name; entry i of all of them belongs to round i. There are fewer
    rounds if another one would not end before the deadline. Raises RuntimeError if two do not.
    """
    measured: dict[str, list[float]] = {name: [] for name in runs}
    names, longest = list(runs), 0.0
    for run in runs.values():
        run()
    for round_ in range(rounds):
        if deadline and deadline.left < 1.2 * longest:
            break
        start, turn = time.monotonic(), round_ % len(names)
        for name in names[turn:] + names[:turn]:
            measured[name].append(runs[name]())
        longest = max(longest, time.monotonic() - start)
    if len(measured[names[0]]) < 2:
        raise RuntimeError("the time limit came before the second round: no spread, no figure")
    return measured


class Ratio(NamedTuple):
    """Median and quartiles of ratios of paired rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} .. {self.high:.3f})"


def paired_ratio(top: Sequence[float], bottom: Sequence[float]) -> Ratio:
    """Needs two rounds or more."""
    ratios = [a / b for a, b in zip(top, bottom, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return Ratio(statistics.median(ratios), low, high)


def spread(figures: Sequence[float], digits: int = 0) -> str:
    low, middle, high = min(figures), statistics.median(figures), max(figures)
    return f"{middle:.{digits}f} ({low:.{digits}f} .. {high:.{digits}f})"


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table. header: names of the columns, all different."""
    return markdown_table([dict(zip(header, map(str, row), strict=True)) for row in rows])
