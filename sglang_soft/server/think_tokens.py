"""Which tokens open and close a think block, and whether a prompt ends inside one."""

from array import array
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from sglang_soft_kernels.sequences import MAX_DELIMITER

from sglang_soft.server.settings import Settings


class ThinkTokens(NamedTuple):
    """Ids of the sequences that open and close a thought."""

    start: tuple[int, ...]
    """Empty: thinking can only start at the beginning of the output."""
    end: tuple[int, ...]

    def to_json(self) -> dict[str, int | list[int] | None]:
        """As clients see them: a number where it is one token."""
        ids = {"think_start_id": self.start, "think_end_id": self.end}
        return {key: list(i) if len(i) > 1 else next(iter(i), None) for key, i in ids.items()}


def resolve_think_tokens(
    tokenizer, reasoning_parser: str | None, settings: Settings, vocabulary: int
) -> ThinkTokens:
    """Ids of the think tokens: from --soft-think-start/-end, else the reasoning parser, else
    `<think>`, `</think>`.

    vocabulary: number of ids that the model knows.

    Raises:
        ValueError: `<think>` and `</think>`, where nothing names others, are not one token each; a
            delimiter has more than 8 tokens; there is no tokenizer and no ids were given; or the
            model does not know an id.
    """
    start, end, most = "<think>", "</think>", 1
    if parsed := _parsed(tokenizer, reasoning_parser):
        start, end = parsed
        most = MAX_DELIMITER

    def tokens(given: str | None, text: str, flag: str) -> tuple[int, ...]:
        limit = MAX_DELIMITER if given else most
        return _tokens(tokenizer, given or text, flag, vocabulary, limit)

    return ThinkTokens(
        start=tokens(settings.think_start, start, "--soft-think-start"),
        end=tokens(settings.think_end, end, "--soft-think-end"),
    )


def parsed_think_end(tokenizer, reasoning_parser: str | None) -> tuple[int, ...] | None:
    """Ids of the tokens after which SGLang's grammars begin; None: there are none."""
    parsed = _parsed(tokenizer, reasoning_parser)
    if tokenizer is None or parsed is None:
        return None
    return tuple(tokenizer.encode(parsed[1], add_special_tokens=False)) or None


def _parsed(tokenizer, reasoning_parser: str | None) -> tuple[str, str] | None:
    """Think-start and think-end of a reasoning parser."""
    if not reasoning_parser:
        return None
    from sglang.srt.parser.reasoning_parser import ReasoningParser

    detector = ReasoningParser(model_type=reasoning_parser, tokenizer=tokenizer).detector
    return detector.think_start_token, detector.think_end_token


def _tokens(tokenizer, text: str, flag: str, vocabulary: int, limit: int) -> tuple[int, ...]:
    """limit: most tokens."""
    if all(part.isdecimal() for part in text.split(",")):
        ids = [int(part) for part in text.split(",")]
    elif tokenizer is None:
        raise ValueError(
            f"without a tokenizer (--skip-tokenizer-init) {flag} must be a token id, or ids "
            f"separated by commas; got {text!r}."
        )
    else:
        ids = tokenizer.encode(text, add_special_tokens=False)
    if not 1 <= len(ids) <= limit:
        allowed = "one token" if limit == 1 else f"1 to {limit} tokens"
        raise ValueError(
            f"{flag} must be {allowed} of this tokenizer; {text!r} is {len(ids)} tokens ({ids})."
        )
    if unknown := [i for i in ids if i >= vocabulary]:
        raise ValueError(
            f"{flag} must be tokens of this model, ids in [0, {vocabulary - 1}]; got {unknown[0]}."
        )
    return tuple(ids)


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
        if not self._tokens.start:
            return False
        start, end = (array("q", tokens).tobytes() for tokens in self._tokens)
        prompt = array("q", prompt_ids).tobytes()
        if self._tokenizer is None:
            opened, closed = _last_of(prompt, start), _last_of(prompt, end)
            return opened is not None and (closed is None or opened > closed)
        size = len(prompt_ids)
        while size:
            if prompt.endswith(start, 0, 8 * size):
                return True
            if not self._is_space(prompt_ids[size - 1]):
                break
            size -= 1  # after the test: white space may be a part of think-start
        if not self._turn:
            return False
        at = _last_of(prompt, self._turn)
        turn = [] if at is None else prompt_ids[at + len(self._turn) // 8 :]
        first = next((i for i, token in enumerate(turn) if not self._is_space(token)), len(turn))
        block = array("q", turn[first:]).tobytes()
        return block.startswith(start) and _last_of(block, end) is None

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
    at = _last_of(array("q", ids).tobytes(), array("q", tokens.start).tobytes())
    ids = ids[:at]
    while ids and tokenizer.decode(ids[-1:]).isspace():
        ids.pop()
    return ids
