"""Where a thought ends and the answer begins, in the text of an answer.

Standard library only: the lm-eval task in `evals/clients` reads this file as well.
"""

import re
from typing import NamedTuple

TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
"""Delimiters of open models: think-start and think-end. Case does not matter."""
_TAG = re.compile(
    "|".join(f"({re.escape(start)})|{re.escape(end)}" for start, end in TAGS), re.IGNORECASE
)
"""Every tag; a group is set for a think-start."""


class Parts(NamedTuple):
    reasoning: str
    answer: str


def is_open(prompt: str) -> bool:
    """Whether a prompt (or its end) ends inside a thought that it opened itself."""
    return opener(prompt) is not None


def opener(prompt: str) -> str | None:
    """The think-start that a prompt ends with, as `TAGS` has it."""
    end = prompt.rstrip().lower()
    return next((start for start, _ in TAGS if end.endswith(start.lower())), None)


def split(reasoning: str, content: str, is_open: bool | None) -> Parts:
    """The thought and the answer of a completion.

    Args:
        reasoning: what the server's reasoning parser took for the thought; empty without one.
        content: the rest of the text.
        is_open: whether the prompt opens a thought; None: not known.
    """
    if reasoning:
        return Parts(reasoning, clean(content))
    tags = _TAG.finditer(content)
    first = next(tags, None)
    opened = first is not None and _is_start(first) and not content[: first.start()].strip()
    if not (opened or is_open or (is_open is None and first and not _is_start(first))):
        return Parts("", clean(content))
    start = first.end() if first and opened else 0
    ends = first if not opened else None
    while ends is None or _is_start(ends):
        ends = next(tags, None)
        if ends is None:  # cut, or ended inside the thought: there is no answer
            return Parts(content[start:], "")
    return Parts(content[start : ends.start()], clean(content[ends.end() :]))


def clean(answer: str) -> str:
    """An answer without the thoughts and the stray tags in it.

    A block that the answer opens is a thought, also if it is never closed. What stands before a
    think-end that nothing opened is a thought, unless nothing follows it.
    """
    kept, before, place, inside = "", "", 0, False
    for tag in _TAG.finditer(answer):
        if not inside:
            kept += answer[place : tag.start()]
        if not _is_start(tag) and not inside:
            before, kept = (kept if kept.strip() else before), ""
        inside, place = _is_start(tag), tag.end()
    if not inside:
        kept += answer[place:]
    return kept if kept.strip() or not before else before


def _is_start(tag: re.Match[str]) -> bool:
    return tag.lastindex is not None
