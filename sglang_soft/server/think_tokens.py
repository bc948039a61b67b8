"""Which tokens open and close a think block, and whether a prompt ends inside one."""

from array import array
from collections.abc import Sequence
from functools import cached_property
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
            not given, or the model does not know the id.
    """
    start, end = _parsed(tokenizer, reasoning_parser) or ("<think>", "</think>")
    return ThinkTokens(
        start=_one_token(
            tokenizer, settings.think_start or start, "--soft-think-start", vocabulary
        ),
        end=_one_token(tokenizer, settings.think_end or end, "--soft-think-end", vocabulary),
    )


def parsed_think_end(tokenizer, reasoning_parser: str | None) -> int | None:
    """Id of the token behind which SGLang's grammars begin; None: it has no single one."""
    parsed = _parsed(tokenizer, reasoning_parser)
    if tokenizer is None or parsed is None:
        return None
    ids = tokenizer.encode(parsed[1], add_special_tokens=False)
    return ids[0] if len(ids) == 1 else None


def _parsed(tokenizer, reasoning_parser: str | None) -> tuple[str, str] | None:
    """Think-start and think-end of a reasoning parser."""
    if not reasoning_parser:
        return None
    from sglang.srt.parser.reasoning_parser import ReasoningParser

    detector = ReasoningParser(model_type=reasoning_parser, tokenizer=tokenizer).detector
    return detector.think_start_token, detector.think_end_token


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


class PromptEnd:
    """Whether a prompt ends inside an open think block.

    A user may write about think tokens, and so may an earlier turn. So only a block counts that the
    last assistant turn opened: at its beginning, or with the very last token of the prompt. Where a
    turn begins is learnt from the chat template. White space is passed over.
    """

    def __init__(self, tokenizer, tokens: ThinkTokens) -> None:
        """tokenizer: None: the last think token of the prompt decides."""
        self._tokenizer, self._tokens = tokenizer, tokens

    @cached_property
    def _turn(self) -> bytes:
        """Ids of what opens an assistant turn, as int64; empty: not known. Asked for late: SGLang
        sets the server's own chat template when this process is nearly up."""
        return array("q", _turn_opening(self._tokenizer, self._tokens)).tobytes()

    def is_open(self, prompt_ids: Sequence[int]) -> bool:
        start, end = self._tokens
        if start is None:
            return False
        if self._tokenizer is None:
            return next(
                (token == start for token in reversed(prompt_ids) if token in self._tokens), False
            )
        last = next((token for token in reversed(prompt_ids) if not self._is_space(token)), None)
        if last == start:
            return True
        if not self._turn:
            return False
        at = _last_of(array("q", prompt_ids).tobytes(), self._turn)
        turn = [] if at is None else prompt_ids[at + len(self._turn) // 8 :]
        first = next((i for i, token in enumerate(turn) if not self._is_space(token)), None)
        return first is not None and turn[first] == start and end not in turn[first:]

    def _is_space(self, token: int) -> bool:
        if token not in self._spaces:
            self._spaces[token] = self._tokenizer.decode([token]).isspace()
        return self._spaces[token]

    @cached_property
    def _spaces(self) -> dict[int, bool]:
        return {}


def _last_of(ids: bytes, wanted: bytes) -> int | None:
    """Index of the last `wanted` in `ids`, both int64."""
    at = ids.rfind(wanted)
    while at >= 0 and at % 8:
        at = ids.rfind(wanted, 0, at + len(wanted) - 1)
    return None if at < 0 else at // 8


def _turn_opening(tokenizer, tokens: ThinkTokens) -> list[int]:
    """Ids of what the chat template puts before an assistant's text, a think block left out; empty
    where there is no template, or one that puts nothing there."""
    user, assistant = "Question 7151", "Answer 8363"
    question = [{"role": "user", "content": user}]

    def render(messages: list[dict[str, str]], **kwargs: bool) -> str:
        return tokenizer.apply_chat_template(messages, tokenize=False, **kwargs)

    try:
        asked, prompt = render(question), render(question, add_generation_prompt=True)
        opening = prompt.removeprefix(asked) if prompt.startswith(asked) else ""
        if not opening:  # a template without a generation prompt
            turns = render([*question, {"role": "assistant", "content": assistant}])
            opening = turns.split(user)[-1].split(assistant)[0]
    except Exception:  # no template, or one that wants other messages: templates are programs
        return []
    ids = tokenizer.encode(opening, add_special_tokens=False)
    if tokens.start in ids:
        ids = ids[: ids.index(tokens.start)]
    while ids and tokenizer.decode(ids[-1:]).isspace():
        ids.pop()
    return ids
