"""A document as one self-contained HTML page. The template engine escapes everything but our own
SVG."""

import re
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from sglang_soft_evals.report.document import Document, Link, PageLink, Table

UNBROKEN = 24
"""Characters up to which the cells of a column stay on one line."""
_NUMBER = re.compile(r"-|[-+<]? ?\d[\d,.]*")
_FIGURE = re.compile(r"-|[-+]?\d[\d,.]* [\[(].*")
"""A number with its interval or share."""


def html(document: Document) -> str:
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.tests["link"] = lambda cell: isinstance(cell, Link)
    environment.tests["page"] = lambda cell: isinstance(cell, PageLink)
    environment.filters["styles"] = _styles
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["svg"] = Markup
    here = files("sglang_soft_evals.report")
    template = environment.from_string((here / "page.html.j2").read_text())
    return template.render(document=document, style=Markup((here / "page.css").read_text()))


def _styles(table: Table) -> list[str]:
    """Class of each column: plain numbers are aligned on the right, intervals are not broken."""
    styles = []
    for name in table.rows[0]:
        cells = [cell for row in table.rows if not isinstance(cell := row[name], Link | PageLink)]
        if cells and all(_NUMBER.fullmatch(cell) for cell in cells):
            styles.append("number")
        else:
            short = all(len(cell) <= UNBROKEN for cell in cells)
            styles.append(
                "figure" if short or any(_FIGURE.fullmatch(cell) for cell in cells) else "text"
            )
    return styles
