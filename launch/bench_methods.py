"""Tokens per second of every thinking method against hard decoding, in one run; used by bench.py
and bench_gpu.py."""

import statistics
from collections.abc import Callable
from functools import partial

from measuring import paired_ratio, take_turns


def method_names() -> list[str]:
    from sglang_soft import methods

    return list(methods.names())


def measure_methods(rate: Callable[[str | None], float], rounds: int) -> dict[str, list[float]]:
    """[rounds] figures of every method and of hard decoding. rate: output tokens per second by
    method, None: hard."""
    runs: dict[str, Callable[[], float]] = {"hard": partial(rate, None)}
    runs |= {name: partial(rate, name) for name in method_names()}
    return take_turns(runs, rounds)


def methods_table(figures: dict[str, list[float]] | None) -> str:
    """Markdown. figures None: the skeleton of a dry run."""
    lines = [
        "| method | tokens/s, median (min .. max) | method / hard (quartiles of paired rounds) |",
        "| --- " * 3 + "|",
    ]
    for name in ["hard", *method_names()]:
        cells = ["", ""]
        if figures:
            x = figures[name]
            cells[0] = f"{statistics.median(x):.0f} ({min(x):.0f} .. {max(x):.0f})"
            cells[1] = "" if name == "hard" else str(paired_ratio(x, figures["hard"]))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
