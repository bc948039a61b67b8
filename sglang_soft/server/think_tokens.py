"""Which tokens open and close a think block, and whether a prompt ends inside one."""

from collections.abc import Sequence
from typing import NamedTuple

from sglang_soft.server.settings import Settings


class ThinkTokens(NamedTuple):
    start: int | None
    """Id of think-start; None: the model has none, and thinking can only start at the end of a
    prompt."""
    end: int
    """Id of think-end."""


def resolve_think_tokens(
    tokenizer, reasoning_parser: str | None, settings: Settings, vocabulary: int
) -> ThinkTokens:
    """Ids of the think tokens: from --soft-think-start/-end, else the reasoning parser, else
    `<think>`, `</think>`.

    vocabulary: number of ids that the model knows.

    Raises:
        ValueError: a token is not one token of this tokenizer, there is no tokenizer and an id was
        not given, or the
            model does not know the id.
    """
    start, end = "<think>", "</think>"
    if reasoning_parser:
        from sglang.srt.parser.reasoning_parser import ReasoningParser

        detector = ReasoningParser(model_type=reasoning_parser, tokenizer=tokenizer).detector
        start, end = detector.think_start_token, detector.think_end_token
    return ThinkTokens(
        start=_one_token(
            tokenizer, settings.think_start or start, "--soft-think-start", vocabulary
        ),
        end=_one_token(tokenizer, settings.think_end or end, "--soft-think-end", vocabulary),
    )


def _one_token(tokenizer, text: str, flag: str, vocabulary: int) -> int:
    if text.isdecimal():
        ids = [int(text)]
    elif tokenizer is None:
        raise ValueError(
            f"without a tokenizer (--skip-tokenizer-init) {flag} must be a token id; got {text!r}."
        )
    else:
        ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1:
        raise ValueError(
            f"{flag} must be one token of this tokenizer; {text!r} is {len(ids)} tokens ({ids})."
        )
    if ids[0] >= vocabulary:
        raise ValueError(
            f"{flag} must be a token of this model, an id in [0, {vocabulary - 1}]; got {ids[0]}."
        )
    return ids[0]


def starts_thinking(prompt_ids: Sequence[int], tokens: ThinkTokens) -> bool:
    """Whether the prompt ends inside an open think block: its last think-start comes after its last
    think-end."""
    if tokens.start is None:
        return False
    for token in reversed(prompt_ids):
        if token == tokens.end:
            return False
        if token == tokens.start:
            return True
    return False
