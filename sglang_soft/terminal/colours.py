"""How weights and entropies look in a terminal."""

from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

from sglang_soft.view.visible import parts

BARS = "▁▂▃▄▅▆▇█"
CLASSES = ((0.95, ""), (0.8, "green"), (0.6, "yellow"), (0.4, "bold red"), (0.0, "bold magenta"))
"""Least weight of the first candidate, and the style of its text."""


def style(weight: float) -> str:
    return next(style for least, style in CLASSES if weight >= least)


def legend() -> Text:
    text = Text("weight of the first candidate: ")
    below = None
    for least, how in CLASSES:
        text.append(f"{least:g} and more" if below is None else f"{least:g}", how or "none")
        text.append("  " if least else "")
        below = least
    return text


def written(text: str, how: str, *, lines: bool = True) -> Text:
    """What a model wrote: never interpreted. lines: newlines break the line after their mark."""
    made = Text()
    for part, named in parts(text):
        made.append(part.replace("⏎", "⏎\n") if named and lines else part, "dim" if named else how)
    return made


def bars(entropies: Sequence[float], width: int, most: float | None = None) -> str:
    """Entropies in nats as bars, at most `width`; one stands for the largest of its steps. most: of
    the scale; None: the largest of all. A step of no entropy is the lowest bar."""
    if not entropies:
        return ""
    top = max(max(entropies) if most is None else most, 1e-9)
    count = min(width, len(entropies))
    edges = [i * len(entropies) // count for i in range(count + 1)]
    largest = [max(entropies[a:b]) for a, b in pairwise(edges)]
    return "".join(BARS[min(len(BARS) - 1, int(e / top * len(BARS)))] for e in largest)
