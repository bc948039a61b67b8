"""A document as Markdown. Figures and traces are in the HTML page, and linked."""

import re

from sglang_soft.server.markdown import table
from sglang_soft_evals.report.document import (
    Block,
    Cell,
    Code,
    Document,
    Figure,
    Fold,
    Link,
    PageLink,
    Paragraph,
    Table,
)


def markdown(document: Document, page: str) -> str:
    """The whole text. page: name of the HTML file in the same folder."""
    parts = [f"# {_escape(document.title)}"]
    for section in document.sections:
        written = [text for block in section.blocks if (text := _block(block, page))]
        if written:
            parts += [f"## {_escape(section.title)}", *written]
    return "\n\n".join(parts) + "\n"


def _block(block: Block, page: str) -> str:
    if isinstance(block, Paragraph):
        return f"**{_escape(block.text)}**" if block.warning else _escape(block.text)
    if isinstance(block, Table):
        rows = [
            {_escape(name): _cell(cell, page) for name, cell in row.items()} for row in block.rows
        ]
        text = table(rows)
        return f"{text}\n\n{_escape(block.note)}" if block.note else text
    if isinstance(block, Fold):
        return f"{_escape(block.title)}:\n\n{_block(block.table, page)}"
    if isinstance(block, Figure):
        return f"[Plot in {page}]({page}). {_escape(block.caption)}"
    if isinstance(block, Code):
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", block.text)), default=0))
        return f"{_escape(block.title)}:\n\n{fence}\n{block.text}\n{fence}"
    return ""


def _cell(cell: Cell, page: str) -> str:
    if isinstance(cell, Link):
        text = _escape(cell.text).replace("[", "\\[").replace("]", "\\]")
        return f"[{text}]({page}#{cell.anchor})"
    if isinstance(cell, PageLink):
        return f"[{_escape(cell.text)}]({cell.path})"
    return _escape(cell)


def _escape(text: str) -> str:
    """On one line, without Markdown or HTML of its own. `table` escapes the `|`."""
    return re.sub(r"([\\`*<]|\](?=\())", r"\\\1", " ".join(text.split()))
