"""The fenced code blocks of the project's pages."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

ADDRESS = "127.0.0.1:30000"
"""Where the text expects a server: `make run` starts it there."""
CODE = ("python", "bash", "console")
TEXT = ("json", "toml")
"""Languages of blocks that nobody runs."""
RUN = ("sglang-soft ", "python -c ", "curl ")
"""Shell commands that a test runs start so."""

_FENCE = re.compile(r"^```(.*)$")
_MARK = re.compile(r"^<!-- not run: (.+) -->$")


class Block(NamedTuple):
    page: str
    line: int
    """Of the opening fence, from 1."""
    language: str
    text: str
    reason: str | None
    """Why it is not run; None: it is."""

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def needs_server(self) -> bool:
        return ADDRESS in self.text

    @property
    def commands(self) -> list[str]:
        """The shell commands of a bash block, or the `$ ` lines of a console block."""
        lines = self.text.splitlines()
        if self.language == "console":
            return [line[2:] for line in lines if line.startswith("$ ")]
        # A command may go on: after a backslash, or inside quotes.
        commands: list[str] = []
        for line in lines:
            if commands and (commands[-1].endswith("\\") or commands[-1].count("'") % 2):
                commands[-1] += f"\n{line}"
            elif line.strip() and not line.startswith("#"):
                commands.append(line)
        return commands

    @property
    def can_run(self) -> bool:
        if self.language == "python":
            return True
        return bool(self.commands) and all(c.startswith(RUN) for c in self.commands)


def read(text: str, page: str) -> Iterator[Block]:
    """The blocks of a page. Raises ValueError: a fence is not closed."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        if opening := _FENCE.match(lines[at]):
            try:
                end = lines.index("```", at + 1)
            except ValueError:
                raise ValueError(f"{page}:{at + 1}: the fence is not closed") from None
            mark = _MARK.match(lines[at - 1]) if at else None
            content = "\n".join(lines[at + 1 : end]) + "\n"
            yield Block(page, at + 1, opening[1], content, mark[1] if mark else None)
            at = end
        at += 1


def every() -> list[Block]:
    return [
        block
        for page in PAGES
        for block in read(page.read_text(), page.relative_to(ROOT).as_posix())
    ]
