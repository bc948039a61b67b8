"""What a model emits as text that a person can see, and that drives no terminal.

Control characters (escape sequences begin with one), characters that turn the direction of the text
around, invisible ones and other line separators become a name: `␛`, `\\u{202E}`. The page has the
same rule (web/).
"""

import unicodedata
from collections.abc import Iterator
from itertools import groupby

SPACE, NEWLINE = "·", "⏎"
_NAMED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that have no picture of their own."""


def name(character: str) -> str | None:
    """What stands for a character; None: itself."""
    code = ord(character)
    if character == "\n":
        return NEWLINE
    if code < 0x20:
        return chr(0x2400 + code)  # Unicode's pictures of them
    if code == 0x7F:
        return "␡"
    return f"\\u{{{code:X}}}" if unicodedata.category(character) in _NAMED else None


def parts(text: str) -> Iterator[tuple[str, bool]]:
    """A text in parts. True: the part is the name of a character, or of several, and is to be set
    off from what the model wrote."""
    for named, group in groupby(((name(c), c) for c in text), lambda pair: pair[0] is not None):
        yield "".join(n or c for n, c in group), named


def visible(text: str) -> str:
    """On one line."""
    return "".join(part for part, _ in parts(text))


def chip(text: str) -> str:
    """A single token: spaces at its ends are visible as well."""
    inner = text.strip(" ")
    before = len(text) - len(text.lstrip(" "))
    after = len(text) - before - len(inner)
    return SPACE * before + visible(inner) + SPACE * after
