"""An mkdocs hook: put the project's own tables where a page asks for them.

A line `<!-- table: NAME -->` becomes what `sglang-soft NAME` prints, so the pages cannot drift from
the code.
"""

import re
from typing import Any

from sglang_soft.server import cli

TABLES = {
    "settings": cli.settings_table,
    "params": cli.params_table,
    "methods": cli.methods_table,
    "hooks": cli.hooks_table,
}
MARK = re.compile(r"^<!-- table: (\w+) -->$", re.MULTILINE)


def with_tables(markdown: str) -> str:
    """`markdown` with every table that it asks for. Raises KeyError: there is no such table."""
    return MARK.sub(lambda match: f"\n{TABLES[match[1]]()}\n", markdown)


def on_page_markdown(markdown: str, **_: Any) -> str:
    return with_tables(markdown)
