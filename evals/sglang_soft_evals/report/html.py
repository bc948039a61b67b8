"""A document as one self-contained HTML page. Everything but our own SVG is escaped by the template engine."""

import re
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from sglang_soft_evals.report.document import Document, Link


def html(document: Document) -> str:
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.tests["link"] = lambda cell: isinstance(cell, Link)
    # figures: a number, also with sign, share or interval behind it
    environment.tests["figure"] = lambda cell: re.match(r"([-+<]? ?\d[\d,.]*|-$)", cell) is not None
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["svg"] = Markup
    here = files("sglang_soft_evals.report")
    template = environment.from_string((here / "page.html.j2").read_text())
    return template.render(document=document, style=Markup((here / "page.css").read_text()))
