"""What the model reads in place of a program's text: the concept tokens of its thoughts.

A program's text is a string to which SGLang's interpreter appends. A `Prefix` says that the
beginning of this string is to be read as a trace. Prefixes are kept among the program's variables,
under a key that is no name: `s.fork` copies the variables along with text and messages.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sglang.lang.interpreter import StreamExecutor

from sglang_soft.trace import Trace

Decode = Callable[[list[list[int]]], list[str]]
"""Texts of lists of token ids, special tokens included: a stop string may be one."""
CONTEXT = 64
"""Tokens before the end of an answer with which its last tokens are decoded."""


class _Key:
    def __repr__(self) -> str:
        return "<prefixes of sglang_soft.lang>"


_KEY: Any = _Key()


@dataclass(frozen=True)
class Prefix:
    text: str
    """The beginning of the program's text that the trace stands for."""
    trace: Trace
    """Everything up to there: prompt, thoughts and answers."""

    @property
    def thinks(self) -> bool:
        """The thought is open: the next token may be one of it."""
        trace = self.trace
        return trace.start is not None and not trace.ended_by_think_end


def prefix_of(s: StreamExecutor) -> Prefix | None:
    """The longest one that the program's text begins with.

    `sgl.separate_reasoning` takes a thought out of the text. Then the text no longer begins with
    the prefix that has this thought, and an earlier one, or None, is returned.
    """
    return next((prefix for prefix in reversed(_all(s)) if s.text_.startswith(prefix.text)), None)


def add(s: StreamExecutor, prefix: Prefix) -> None:
    # A new tuple: forks hold the old one.
    s.variables[_KEY] = (*_all(s), prefix)


def _all(s: StreamExecutor) -> tuple[Prefix, ...]:
    found = s.variables.get(_KEY, ())
    # After `join` it is a list: what the branches added. Their text is not this program's.
    return found if isinstance(found, tuple) else ()


def without_stop(trace: Trace, answer: str, matched: Any, decode: Decode) -> tuple[Trace, int]:
    """What ended a request is in its tokens and not in its text; take it out of the tokens as well.

    Args:
        trace: of the whole request.
        answer: its text, as the server sent it.
        matched: `finish_reason.matched`: a token id, a stop string, or the pattern of a stop regex.

    Returns:
        the trace, and the length of the part of `answer` that its tokens have. The rest is less
        than one token: the text before a stop string that began inside a token.
    """
    if isinstance(matched, int):
        return _shortened(trace, 1), len(answer)
    if not isinstance(matched, str):
        return trace, len(answer)
    # A token has at least one byte.
    most = min(len(matched.encode()) + 1, len(trace.output_ids))
    ids = trace.output_ids[-most - CONTEXT :].tolist()
    texts = decode([ids[: len(ids) - dropped] for dropped in range(most + 1)])
    stop = texts[0].rfind(matched)
    if stop < 0:
        return trace, len(answer)  # the pattern of a stop regex: SGLang leaves the text as it is
    for dropped, text in enumerate(texts):
        if len(text) <= stop and texts[0].startswith(text):
            return _shortened(trace, dropped), len(answer) - (stop - len(text))
    raise RuntimeError(f"the stop string {matched!r} is not in the last {most} tokens: {ids}.")


def _shortened(trace: Trace, dropped: int) -> Trace:
    """Without the last output tokens; where they were thinking steps, without these."""
    left = len(trace.output_ids) - dropped
    thought = trace.start is not None and left - (trace.start - len(trace.prompt_ids))
    if thought is not False and thought < len(trace.steps):
        return trace.cut(max(thought, 0))
    return trace.copy(output_ids=trace.output_ids[:left])
