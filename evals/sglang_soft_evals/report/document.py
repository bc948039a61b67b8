"""The parts of a report. Markdown and HTML are both written from them, so they say the same."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Link(NamedTuple):
    """A cell that leads to an anchor of the HTML page."""

    text: str
    anchor: str


class PageLink(NamedTuple):
    """A cell that leads to another file in the run directory."""

    text: str
    path: str


Cell = str | Link | PageLink


@dataclass(slots=True)
class Paragraph:
    text: str
    warning: bool = False


@dataclass(slots=True)
class Table:
    rows: list[dict[str, Cell]]
    """At least one; cells by column, the same columns in every row."""
    note: str = ""
    """How to read it, below the table."""


@dataclass(slots=True)
class Fold:
    """A table below its title; the HTML page shows the title until it is clicked."""

    title: str
    table: Table


@dataclass(slots=True)
class Figure:
    """A drawing, in the HTML page only."""

    svg: str
    caption: str


@dataclass(slots=True)
class Code:
    """Text as it stands: a prompt, a command, JSON."""

    title: str
    text: str


@dataclass(slots=True)
class Trace:
    """One answer with its texts, in the HTML page only."""

    anchor: str
    title: str
    facts: list[tuple[str, str]]
    texts: list[tuple[str, str]]
    """(name, text) of prompt, reasoning and answer."""


Block = Paragraph | Table | Fold | Figure | Code | Trace


@dataclass(slots=True)
class Section:
    anchor: str
    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(slots=True)
class Document:
    title: str
    sections: list[Section]
