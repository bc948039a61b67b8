"""The fenced code blocks of the project's pages, and what the comment before a block says of it:

<!-- not run: REASON -->     nobody runs it, for this reason
<!-- run by: FILE -->        another test runs it
<!-- output -->              it is what the block before it prints
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

ADDRESS = "127.0.0.1:30000"
"""Where the text expects a server: `make run` starts it there."""
CODE = ("python", "bash", "sh", "toml")
TEXT = ("json", "text")
"""Languages of blocks that nobody runs."""
RUN = ("sglang-soft ", "python -m launch.presets", "python docs/tables.py", "curl ")
"""Shell commands that the tests of this folder run start so."""

_FENCE = re.compile(r"^ *```(.*)$")
_MARK = re.compile(r"^ *<!-- (not run|run by|output)(?:: (.+))? -->$")


class Block(NamedTuple):
    page: str
    line: int
    """Of the opening fence, from 1."""
    language: str
    text: str
    mark: str | None
    """`not run`, `run by`, `output` or None."""
    about: str | None
    """What the mark says: a reason, or a file."""
    output: str | None
    """What the page says that it prints."""

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def needs_server(self) -> bool:
        return ADDRESS in self.text

    @property
    def commands(self) -> list[str]:
        """The shell commands, each with the lines over which it goes: after a backslash or a pipe, or
        inside quotes."""
        commands: list[str] = []
        for line in self.text.splitlines():
            if commands and (commands[-1].endswith(("\\", "|")) or commands[-1].count("'") % 2):
                commands[-1] += f"\n{line}"
            elif line.strip() and not line.startswith("#"):
                commands.append(line)
        return commands

    @property
    def can_run(self) -> bool:
        """The tests of this folder know how to run it."""
        if self.language in ("bash", "sh"):
            return bool(self.commands) and all(c.startswith(RUN) for c in self.commands)
        return self.language == "python"


def read(text: str, page: str) -> Iterator[Block]:
    """The blocks of a page. Raises ValueError: a fence is not closed, or an output has no block."""
    lines = text.splitlines()
    at, last = 0, None
    while at < len(lines):
        if opening := _FENCE.match(lines[at]):
            end = next((i for i in range(at + 1, len(lines)) if lines[i].strip() == "```"), None)
            if end is None:
                raise ValueError(f"{page}:{at + 1}: the fence is not closed")
            mark = _MARK.match(lines[at - 1]) if at else None
            content = "\n".join(lines[at + 1 : end]) + "\n"
            kind, about = (mark[1], mark[2]) if mark else (None, None)
            block = Block(page, at + 1, opening[1], content, kind, about, None)
            if kind == "output":
                if last is None:
                    raise ValueError(f"{block.where}: the output of which block?")
                last = last._replace(output=content)
            else:
                if last is not None:
                    yield last
                last = block
            at = end
        at += 1
    if last is not None:
        yield last


def every() -> list[Block]:
    return [
        block
        for page in PAGES
        for block in read(page.read_text(), page.relative_to(ROOT).as_posix())
    ]


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def same_output(documented: str, printed: str) -> bool:
    """Word for word, but for the last digits of decimal numbers and white space."""
    if _NUMBER.sub("#", documented).split() != _NUMBER.sub("#", printed).split():
        return False
    pairs = zip(_NUMBER.findall(documented), _NUMBER.findall(printed), strict=True)
    return all(
        abs(float(a) - float(b)) < 1e-3 if {".", "e"} & set(a + b) else a == b for a, b in pairs
    )
