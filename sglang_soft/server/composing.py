"""The prompt of a request that goes on from a trace: the trace's tokens, then what follows."""

from array import array
from typing import Any

from sglang_soft.params import KEY
from sglang_soft.server.given import Placed
from sglang_soft.server.http import current_call
from sglang_soft.server.next_turn import NextTurn
from sglang_soft.trace import Trace


def compose(manager, obj, tokenized, trace: Trace, placed: Placed) -> Placed:
    """Put the tokens of the trace into `tokenized.input_ids`.

    manager: TokenizerManager; obj: GenerateReqInput.

    Raises:
        ValueError: the request's own prompt does not fit the trace, or the whole does not fit the
            model's context.
    """
    tokens = placed.tokens.tolist()
    turn = None if (call := current_call.get()) is None else call.turn
    if placed.ends:
        follows = _following(manager, obj, tokenized, trace, turn)
        if turn is not None and follows and tokens and tokens[-1] == follows[0]:
            follows = follows[1:]  # the end of the turn, which the model emitted itself
        tokens += follows
        placed = placed._replace(given=placed.given._replace(prompt_len=len(tokens)))
    else:
        _check_prompt(obj, tokenized, trace)
    _check_length(manager, tokenized, len(tokens))
    code = getattr(tokenized.input_ids, "typecode", "q")
    tokenized.input_ids = array(code, tokens)
    return placed


def _following(manager, obj, tokenized, trace: Trace, turn: NextTurn | None) -> list[int]:
    """The request's own tokens."""
    if turn is not None:
        return turn.tokens(manager.tokenizer, list(tokenized.input_ids), trace)
    text: Any = obj.text
    if text is None:
        return list(tokenized.input_ids)
    return manager.tokenizer.encode(text, add_special_tokens=False)


def _check_prompt(obj, tokenized, trace: Trace) -> None:
    """The request may say nothing, or the trace's prompt again."""
    own, theirs = list(tokenized.input_ids), trace.prompt_ids.tolist()
    if obj.text == "" or own == theirs or not own:
        return
    at = next((i for i, (a, b) in enumerate(zip(own, theirs, strict=False)) if a != b), None)
    differ = (
        f"token {at} is {own[at]}, the trace's is {theirs[at]}"
        if at is not None
        else f"it has {len(own)} tokens, the trace's {len(theirs)}"
    )
    raise ValueError(
        f"{KEY}.trace: the request's prompt is not the trace's ({differ}). Send an empty text, "
        f"which stands for the trace's prompt, or what follows the trace with {KEY}.at=end."
    )


def _check_length(manager, tokenized, count: int) -> None:
    """SGLang has checked the request's own prompt only."""
    room, new = manager.context_len, tokenized.sampling_params.max_new_tokens
    if count >= room:
        raise ValueError(
            f"{KEY}.trace: the prompt with the trace is {count} tokens; the model's context is "
            f"{room}."
        )
    if new is not None and count + new > room:
        raise ValueError(
            f"max_new_tokens must be at most {room - count}: the prompt with the trace is {count} "
            f"tokens, the model's context {room}; got {new}."
        )
