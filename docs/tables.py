"""Tables that come from the code, so that the pages cannot drift from it.

A page holds them between `<!-- table: NAME -->` and `<!-- end -->`. mkdocs fills them in anew at
every build (`on_page_markdown`). The files hold them too, for readers without a build:

    python docs/tables.py      writes them into the files

`<!-- measured: gpu -->` becomes the figures of BENCHMARKS.md, at a build only.
"""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomllib
from sglang_soft_evals import benchmarks

from sglang_soft import methods
from sglang_soft.hooks.registry import FIELDS
from sglang_soft.server import cli, markdown

DOCS = Path(__file__).parent
MEASURED = DOCS.parent / "BENCHMARKS.md"
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_GPU = "<!-- measured: gpu -->"


def formulas() -> str:
    """The docstring of every method."""
    parts = []
    for method in methods.registry().values():
        text = inspect.getdoc(type(method)) or ""
        parts.append(f"### `{method.name}`\n{text}\n\nSource: {method.source}.")
    return "\n\n".join(parts)


def fields() -> str:
    rows = [{"attribute": f"`{name}`", "holds": what} for name, what in FIELDS.items()]
    return markdown.table(rows)


def request_fields() -> str:
    rows = []
    for group, named in tomllib.loads((DOCS / "fields.toml").read_text()).items():
        rows += [
            {"field": f"`{group}.{name}`", "with Soft Thinking": status, "test, or why":
             f"`{text}`" if status in ("works", "refused") else text}
            for name, (status, text) in named.items()
        ]  # fmt: skip
    return markdown.table(rows)


TABLES: dict[str, Callable[[], str]] = {
    "settings": cli.settings_table,
    "params": cli.params_table,
    "presets": cli.presets_table,
    "request_fields": request_fields,
    "methods": cli.methods_table,
    "hooks": cli.hooks_table,
    "formulas": formulas,
    "fields": fields,
    "benchmarks": lambda: markdown.table(benchmarks.table()),
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
