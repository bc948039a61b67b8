"""When a thought ends, and what is emitted until it has: by lists of tokens, compared whole."""

from collections.abc import Sequence
from typing import NamedTuple

from .request import Request
from .steps import ThinkingStep


class Emitted(NamedTuple):
    """What a thinking step emits."""

    token: int
    forced: str | None
    """Why `token` stands in place of the method's; None: it is the method's."""
    ended: str | None
    """Why the thought ends with it; None: it goes on."""


def overlap(output: Sequence[int], sequence: Sequence[int]) -> int:
    """How many tokens of the beginning of `sequence` stand at the end of `output`."""
    fits = [
        n for n in range(len(sequence) + 1) if list(output)[len(output) - n :] == list(sequence[:n])
    ]
    return max(n for n in fits if n <= len(output))


class Ending:
    """Of one request."""

    def __init__(self, request: Request):
        self.request = request
        self.thought: list[int] = []
        """Tokens that the thought emitted."""
        self.pending: list[int] = []
        """Tokens that have still to be forced."""
        self.why: str | None = None

    def emit(self, step: ThinkingStep, emitted: int, low: int, rule: bool = False) -> Emitted:
        """emitted: thinking tokens before this step. low: Cold Stop's count, this step included.
        rule: the stopping rule wants an end."""
        found = self._emit(step, emitted, low, rule)
        self.thought.append(found.token)
        return found

    def _emit(self, step: ThinkingStep, emitted: int, low: int, rule: bool) -> Emitted:
        end = list(self.request.end)
        if not self.pending:
            if [*self.thought, step.token][-len(end) :] == end:
                return Emitted(step.token, None, "stop_token")
            self.why = self._why(step, emitted, low, rule)
            if self.why is None:
                return Emitted(step.token, None, None)
            there = overlap(self.thought, end)
            closing = [] if there or self.why == "eos" else list(self.request.closing)
            self.pending = closing + end[there:]
        token = self.pending.pop(0)
        return Emitted(token, self.why, None if self.pending else self.why)

    def _why(self, step: ThinkingStep, emitted: int, low: int, rule: bool) -> str | None:
        """Why think-end has to be forced, or None."""
        request = self.request
        is_eos = step.token in request.eos_ids and request.thinking_eos == "think_end"
        if is_eos and not overlap([*self.thought, step.token], request.end):
            return "eos"
        if step.concludes:
            return "method"
        if rule:
            return "stop_rule"
        if request.cold is not None and low >= request.cold.steps:
            return "cold_stop"
        forced = len(request.closing) + len(request.end) - 1  # they are thinking tokens
        if request.bound is not None and emitted + forced >= request.bound:
            return "max_thinking_tokens"
        return None
