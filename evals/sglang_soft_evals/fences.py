"""The code in an answer: fenced blocks, as models really write them. Nothing is executed."""

import ast
import re
from collections.abc import Iterator
from textwrap import dedent
from typing import NamedTuple

_OPENING = re.compile(r"(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`]*)$")
"""A fence and what stands after it, up to the end of the line."""
_LANGUAGE = re.compile(r"[{(\[]*[ \t]*\.?([a-z]+[+#]*)?", re.IGNORECASE)
"""`python`, `Python 3.11`, `python3`, `python:main.py`, `{.python .numberLines}`, `{python}`."""
_PYTHON = {"python", "py", "ipython", "pycon", "pypy", "cpython", "sage"}
_QUOTE = re.compile(r"^[ \t]*>[ \t]?")
_LINE_END = re.compile(r"\r\n|\r|\n")
_AFTER = re.compile(r"(?<=[`~])[.,:;!]$")
"""A sentence may end right after a closing fence."""
_PROMPT = ">>>"
"""Begins a recorded session of Python, which is no solution."""


class Block(NamedTuple):
    language: str
    """Lower case, without a version; empty: none is named."""
    code: str


def python_code(text: str) -> str | None:
    """The last block of Python, without its fences; None if there is none.

    A block that names no language counts if none is named Python (it may be a program's output).
    A text without any fence counts as a whole, if it is Python and more than an expression.
    """
    found = [block for block in blocks(text) if not block.code.lstrip().startswith(_PROMPT)]
    for wanted in (_PYTHON, {""}):
        if codes := [block.code for block in found if block.language in wanted]:
            return codes[-1]
    plain = dedent("\n".join(_LINE_END.split(text))).strip("\n").rstrip()
    return plain if not found and _is_program(plain) else None


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a text, without empty ones.

    A fence is three or more backticks or tildes, indented or quoted or after text. A block that is
    not closed (a truncated answer) ends with the text. The fence's own indent is taken off if
    every line has it. Line ends become `\\n`.
    """
    fence, language, lines = "", "", list[str]()
    indent, quoted = "", False
    for line in _LINE_END.split(text):
        if not fence:
            plain = _QUOTE.sub("", line)
            opening = _OPENING.search(plain)
            if opening:
                fence, language, lines = opening["fence"], _language(opening["info"]), []
                quoted, before = plain != line, plain[: opening.start()]
                indent = before if not before.strip() else ""
            continue
        if quoted:
            line = _QUOTE.sub("", line)
        end = _AFTER.sub("", line.rstrip())
        rest = end.rstrip(fence[0])
        closes = len(end) - len(rest) >= len(fence) and fence[0] not in rest
        if closes and (not rest.strip() or fence[0] == "`"):
            yield from _block(language, [*lines, rest] if rest.strip() else lines, indent)
            fence = ""
        else:
            lines.append(line)
    if fence:
        yield from _block(language, lines, indent)


def _language(info: str) -> str:
    match = _LANGUAGE.match(info.strip())
    return (match[1] or "").lower() if match else ""


def _block(language: str, lines: list[str], indent: str) -> Iterator[Block]:
    if all(line.startswith(indent) for line in lines if line.strip()):
        lines = [line.removeprefix(indent) for line in lines]
    code = "\n".join(lines).strip("\n").rstrip()
    if code.strip():
        yield Block(language, code)


def _is_program(text: str) -> bool:
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(not isinstance(statement, ast.Expr | ast.AnnAssign) for statement in body)
