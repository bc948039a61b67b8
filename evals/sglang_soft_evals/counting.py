"""Thinking and answer tokens of an answer.

Thinking tokens are those before think-end, answer tokens those after it, for every method.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sglang_soft_evals.thoughts import Parts


class ThinkTokens(NamedTuple):
    """What a server says about thoughts, before a run (`preflight`)."""

    is_open: bool | None = None
    """Whether the prompt opens a thought; None: not known."""
    start: tuple[int, ...] = ()
    """Token ids of think-start; empty: not known."""
    end: tuple[int, ...] = ()
    """Token ids of think-end; empty: not known."""


class Counts(NamedTuple):
    thinking: int
    answer: int
    reason: str | None
    """As `thinking_finish_reason`; None: nothing was thought."""


NAMES = ("thinking_tokens", "answer_tokens", "thinking_finish_reason", "mean_entropy")
"""Have the same names in `meta_info.soft_thinking` and in a record."""
MIXED = ("mean_concept_size", "mixed_share", "final_entropy")
"""The same; older plugins do not send all of them."""


def of_plugin(soft: Mapping[str, Any], completed: int) -> dict[str, Any]:
    """From `meta_info.soft_thinking`. Raises ValueError if it is of another version."""
    if missing := [name for name in ("method", *NAMES) if name not in soft]:
        raise ValueError(
            f"meta_info.soft_thinking lacks {', '.join(missing)}: the server runs another version "
            "of the plugin than these evals"
        )
    same = {name: soft[name] for name in NAMES} | {name: soft.get(name) for name in MIXED}
    for name in ("thinking_tokens", "answer_tokens"):
        if not isinstance(soft[name], int):
            raise ValueError(f"soft_thinking.{name} must be a whole number; got {soft[name]!r}")
    return {"thinking_method": soft["method"], "completion_tokens": completed, **same}


def of_discrete(
    ids: Sequence[int] | None,
    completed: int,
    reported: int,
    parts: Parts,
    finish: str,
    think: ThinkTokens,
) -> dict[str, Any]:
    """Of an answer without a summary of the plugin.

    Args:
        ids: the output tokens, if the server sent them.
        completed: number of output tokens.
        reported: SGLang's `reasoning_tokens`, think-end included. SGLang counts nothing without a
            reasoning parser, and everything if it waits for a thought that never starts.
        parts: thought and answer of the text.
        finish: why the request ended.
        think: what is known of think tokens.
    """
    counts = _by_ids(ids, think, finish) if ids is not None else None
    thought, answered = bool(parts.reasoning), bool(parts.answer.strip())
    if counts is None or (thought and not counts.thinking) or (answered and not counts.answer):
        counts = _by_report(completed, reported if thought else 0, finish)  # other delimiters
    return {
        "thinking_method": None,
        "thinking_tokens": counts.thinking,
        "answer_tokens": counts.answer,
        "completion_tokens": completed,
        "thinking_finish_reason": counts.reason,
        "mean_entropy": None,
        **dict.fromkeys(MIXED),
    }


def _by_report(completed: int, reported: int, finish: str) -> Counts:
    answer = completed - reported
    reason = None if not reported else "stop_token" if answer else finish
    return Counts(reported - (reason == "stop_token"), answer, reason)


def _by_ids(ids: Sequence[int], think: ThinkTokens, finish: str) -> Counts | None:
    """None if the think tokens are not known."""
    if think.is_open is None or not think.end:
        return None
    begin = 0
    if not think.is_open:
        start = _find(ids, think.start, 0) if think.start else -1
        if start < 0:
            return Counts(0, len(ids), None)
        begin = start + len(think.start)
    end = _find(ids, think.end, begin)
    if end < 0:
        return Counts(len(ids) - begin, 0, finish)
    return Counts(end - begin, len(ids) - end - len(think.end), "stop_token")


def _find(ids: Sequence[int], wanted: Sequence[int], begin: int) -> int:
    """Index of the first occurrence, or -1."""
    width = len(wanted)
    for place in range(begin, len(ids) - width + 1):
        if ids[place] == wanted[0] and tuple(ids[place : place + width]) == tuple(wanted):
            return place
    return -1
