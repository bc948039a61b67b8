"""Where a sentence may end: classes of tokens, each by the text of the token alone.

A paragraph's end that is made of two tokens, a line break each, is in no class but `every`.
"""

from collections.abc import Iterable
from typing import Any

FULL_STOPS = ".!?。！？…"
CLAUSE_STOPS = ";:；："
CLOSERS = "\"'”’»)]}*"
"""They may follow a full stop."""


def ends_sentence(text: str) -> bool:
    return "\n" in text or text.rstrip().rstrip(CLOSERS)[-1:] in tuple(FULL_STOPS)


def ends_clause(text: str) -> bool:
    return ends_sentence(text) or text.rstrip()[-1:] in tuple(CLAUSE_STOPS)


def ends_paragraph(text: str) -> bool:
    return "\n\n" in text


CLASSES = {
    "sentence": ends_sentence,
    "clause": ends_clause,
    "paragraph": ends_paragraph,
    "every": lambda text: True,
}


def boundary_ids(tokenizer: Any, at: str, ids: Iterable[int] | None = None) -> frozenset[int]:
    """The tokens in class `at`. `ids`: all that there are, unless the tokenizer knows them all."""
    every = range(len(tokenizer)) if ids is None else ids
    return frozenset(i for i in every if CLASSES[at](tokenizer.decode([i])))
