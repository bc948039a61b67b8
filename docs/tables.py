"""Tables that come from the code, so that the pages cannot drift from it.

A page holds them between `<!-- table: NAME -->` and `<!-- end -->`. mkdocs fills them in anew at
every build (`on_page_markdown`). The files hold them too, for readers without a build:

    python docs/tables.py      writes them into the files

`<!-- measured: gpu -->` becomes the figures of BENCHMARKS.md, at a build only.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import tomllib
from sglang_soft_evals import benchmarks

from sglang_soft import methods, stopping
from sglang_soft.hooks.registry import FIELDS
from sglang_soft.server import cli, markdown

DOCS = Path(__file__).parent
MEASURED = DOCS.parent / "BENCHMARKS.md"
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_GPU = "<!-- measured: gpu -->"


def formulas(of: Iterable[Any]) -> str:
    """The docstring of every method or stopping rule."""
    parts = []
    for one in of:
        text = inspect.getdoc(type(one)) or ""
        parts.append(f"### `{one.name}`\n{text}\n\nSource: {one.source}.")
    return "\n\n".join(parts)


def fields() -> str:
    rows = [{"attribute": f"`{name}`", "holds": what} for name, what in FIELDS.items()]
    return markdown.table(rows)


def sglang_fields(of: str) -> str:
    """What becomes of every field of a class of SGLang's, from fields.toml."""
    rows = tomllib.loads((DOCS / "fields.toml").read_text())["row"]
    return markdown.table(
        [
            {
                "field": ", ".join(f"`{name}`" for name in row["fields"]),
                "with Soft Thinking": row["state"],
                "why": row.get("why", ""),
                "test": f"`{row['test'].partition('::')[2]}`" if "test" in row else "",
            }
            for row in rows
            if row["of"] == of
        ]
    )


SGLANG = {
    "sglang_request": "GenerateReqInput",
    "sglang_sampling": "SamplingParams",
    "sglang_chat": "ChatCompletionRequest",
    "sglang_completion": "CompletionRequest",
    "sglang_responses": "ResponsesRequest",
    "sglang_routes": "HTTP routes",
    "sglang_server": "ServerArgs",
}
"""Table: what it is of."""

STOPS = {
    "stops": ("stopping", ("run", "accuracy", "compared", "points", "tokens", "entropy")),
    "stops-real": ("stopping_real", ("run", "accuracy", "compared")),
}
"""File of figures below img/ (`make stops`): how the names of its tables begin and end."""


def measured_stops(file: str, name: str) -> str:
    """A table of a run, and how to read it; `run`: what was run, and what is missing of it."""
    values = json.loads((DOCS / "img" / f"{file}.json").read_text())
    if name == "run":
        return "\n".join([values["run"]["text"], *(f"\n- {note}" for note in values["notes"])])
    found = values["tables"][name]
    return f"{markdown.table(found['rows'])}\n\n{found['note']}".replace("*", "\\*")


def chosen_stops() -> str:
    return markdown.table(json.loads((DOCS / "img" / "stops-choice.json").read_text())["rows"])


TABLES: dict[str, Callable[[], str]] = {
    "settings": cli.settings_table,
    "params": cli.params_table,
    "presets": cli.presets_table,
    "methods": cli.methods_table,
    "stops": cli.stops_table,
    "hooks": cli.hooks_table,
    "formulas": lambda: formulas(methods.registry().values()),
    "stop_formulas": lambda: formulas(stopping.registry().values()),
    "fields": fields,
    "benchmarks": lambda: markdown.table(benchmarks.table()),
    "stopping_choice": chosen_stops,
    **{
        f"{begin}_{name}": partial(measured_stops, file, name)
        for file, (begin, names_) in STOPS.items()
        for name in names_
    },
    **{name: partial(sglang_fields, of) for name, of in SGLANG.items()},
}


def escaped(table: str) -> str:
    """`<think>` outside of code is text, not a tag."""
    parts = table.split("`")
    parts[::2] = [re.sub(r"<(?=[/\w])", "&lt;", part) for part in parts[::2]]
    return "`".join(parts)


def names(text: str) -> list[str]:
    """Names of the tables that a page holds."""
    return [match[2] for match in _TABLE.finditer(text)]


def filled(text: str) -> str:
    """A page with its tables as they are now. Raises KeyError: there is no such table."""
    return _TABLE.sub(
        lambda match: f"{match[1]}\n{escaped(TABLES[match[2]]())}\n\n{match[3]}", text
    )


def gpu_figures() -> str:
    """What `launch.bench.gpu --out BENCHMARKS.md` wrote."""
    after = MEASURED.read_text().partition("<!-- gpu: begin -->")[2]
    return after.partition("<!-- gpu: end -->")[0].strip()


def on_page_markdown(text: str, **_: Any) -> str:
    """Called by mkdocs for every page."""
    return filled(text).replace(_GPU, gpu_figures())


def main() -> None:
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text()
        if (new := filled(text)) != text:
            page.write_text(new)
            print(f"{page.name}: tables written")


if __name__ == "__main__":
    main()
