"""Markdown tables: the one writer for the command line, the generated docs and the reports."""

from collections.abc import Sequence


def table(rows: Sequence[dict[str, str]]) -> str:
    """A Markdown table with one column for each key; an empty text for no rows.

    rows: cells by column. All rows have the same columns, in any order; the first row gives the
    order. A cell may hold Markdown, such as a link. Line breaks and `|` cannot end a cell.

    Raises:
        ValueError: a row has other columns than the first.
    """
    if not rows:
        return ""
    columns = list(rows[0])
    for index, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise ValueError(f"row {index} has the columns {list(row)}, the first has {columns}")
    lines = [columns, ["---"] * len(columns), *([row[name] for name in columns] for row in rows)]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
