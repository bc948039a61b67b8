"""Req: what ends a soft request. Stop conditions act in the answer, which may have a budget.

SGLang checks them when an output token was appended and before the step that made it is consumed:
the phase of the request is that before the token.
"""

from typing import Any

from sglang.srt.managers.schedule_batch import (
    FINISH_LENGTH,
    FINISH_MATCHED_STR,
    FINISH_MATCHED_TOKEN,
    FINISHED_MATCHED_REGEX,
)
from sglang_soft_kernels.layout import Phase

from sglang_soft.engine.request import SoftRequest

ANSWER_LENGTH = "soft_answer_length"
"""Key of a finish reason on its way to the detokenizer (hooks/detokenizer.py): characters of the
answer, in which the stop string was found."""


class _InAnswer:
    """A finish reason that knows how long the answer is."""

    def __init__(self, matched: str, length: int) -> None:
        super().__init__(matched)  # type: ignore[call-arg]
        self.length = length

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {ANSWER_LENGTH: self.length}  # type: ignore[misc]


class StringInAnswer(_InAnswer, FINISH_MATCHED_STR):
    pass


class RegexInAnswer(_InAnswer, FINISHED_MATCHED_REGEX):
    pass


_IN_ANSWER = {FINISH_MATCHED_STR: StringInAnswer, FINISHED_MATCHED_REGEX: RegexInAnswer}


def update_finish_state(original, self, *args, **kwargs) -> None:
    """Without stop strings and stop tokens while it thinks; then the budget of the answer."""
    soft: SoftRequest | None = self.soft
    if soft is None or self.finished():
        return original(self, *args, **kwargs)
    sampling = self.sampling_params
    if not _in_answer_only(soft):
        original(self, *args, **kwargs)
    elif soft.phase == Phase.THINK:
        given = sampling.stop_strs, sampling.stop_regex_strs, sampling.stop_token_ids
        sampling.stop_strs, sampling.stop_regex_strs, sampling.stop_token_ids = [], [], None
        try:
            original(self, *args, **kwargs)
        finally:
            sampling.stop_strs, sampling.stop_regex_strs, sampling.stop_token_ids = given
    else:
        original(self, *args, **kwargs)
        in_answer = _IN_ANSWER.get(type(self.finished_reason))
        if in_answer is not None and soft.trace.start is not None:
            length = len(_decode(self, soft.answer_tokens(self.output_ids)))
            self.finished_reason = in_answer(self.finished_reason.matched, length)
    budget = soft.params.max_answer_tokens
    if budget is None or self.finished():
        return None
    if soft.answer_tokens(self.output_ids) >= budget:
        self.finished_reason = FINISH_LENGTH(length=budget)
        self.finished_len = len(self.output_ids)
    return None


def tail_str(original, self, new_accepted_len: int = 1) -> str:
    """The end of the output in which SGLang looks for stop strings: of the answer's text only."""
    soft: SoftRequest | None = self.soft
    if soft is None or not _in_answer_only(soft) or soft.trace.start is None:
        return original(self, new_accepted_len)
    if not (self.sampling_params.stop_strs or self.sampling_params.stop_regex_strs):
        return ""
    answer = soft.answer_tokens(self.output_ids)
    count = min(self._stop_match_tail_len(new_accepted_len), answer)
    return self.tokenizer.decode(self.output_ids[len(self.output_ids) - count :]) if count else ""


def reason_of(req) -> str:
    """Why a request ended, in the words of `thinking_finish_reason`."""
    reason, sampling = req.finished_reason, req.sampling_params
    kind = reason.to_json()["type"]
    if kind in ("length", "abort"):
        return kind
    if isinstance(reason, FINISHED_MATCHED_REGEX):
        return "stop_regex"
    if isinstance(reason, FINISH_MATCHED_STR) and reason.matched in sampling.stop_strs:
        return "stop_string"
    if isinstance(reason, FINISH_MATCHED_TOKEN):
        if reason.matched in (sampling.stop_token_ids or ()):
            return "stop_token_id"
        if reason.matched in eos_ids(req):
            return "eos_stop"
    return "stop"


def eos_ids(req) -> frozenset[int]:
    """The end-of-sequence tokens that SGLang knows for a request: of the model and its tokenizer.
    They are those of the server."""
    ids = set(req.eos_token_ids or ())
    if req.tokenizer is not None:
        ids |= set(req.tokenizer.additional_stop_token_ids or ())
        if req.tokenizer.eos_token_id is not None:
            ids.add(req.tokenizer.eos_token_id)
    return frozenset(ids)


def _in_answer_only(soft: SoftRequest) -> bool:
    return soft.params.thinking_stop == "answer"


def _decode(req, count: int) -> str:
    """The text of the last `count` output tokens, as the detokenizer makes it."""
    sampling = req.sampling_params
    return req.tokenizer.decode(
        req.output_ids[len(req.output_ids) - count :],
        skip_special_tokens=sampling.skip_special_tokens,
        spaces_between_special_tokens=sampling.spaces_between_special_tokens,
    )
