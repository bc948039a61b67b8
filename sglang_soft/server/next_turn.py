"""A chat turn that keeps the thought of the turn before it (`at: "end"` with messages).

A chat template drops earlier thoughts, and the text of an answer need not tokenize as it was
emitted. So what precedes the new turn is taken from the trace, token by token, and only what the
template puts after the last answer is tokenized. It is found by rendering the conversation with a
mark in place of that answer.
"""

import secrets
from typing import Any

from sglang_soft.params import KEY
from sglang_soft.trace import Trace


class NextTurn:
    """A chat request whose last assistant message is the answer of a trace."""

    def __init__(self, body: dict[str, Any]) -> None:
        """Marks the message in `body`, in place.

        Raises:
            ValueError: there is no assistant message.
        """
        messages = body.get("messages")
        messages = messages if isinstance(messages, list) else []
        roles = [m.get("role") if isinstance(m, dict) else None for m in messages]
        if "assistant" not in roles:
            raise ValueError(
                f"{KEY}.at=end: messages must have an assistant message, the answer of the trace."
            )
        at = len(roles) - 1 - roles[::-1].index("assistant")
        self._answer, self._asked = messages[at].get("content"), messages[:at]
        self._mark = f"answer {secrets.token_hex(8)}"
        body["messages"] = [
            *messages[:at], {"role": "assistant", "content": self._mark}, *messages[at + 1 :],
        ]  # fmt: skip

    def tokens(self, tokenizer, rendered: list[int], trace: Trace) -> list[int]:
        """What follows the answer. rendered: the marked conversation.

        Raises:
            ValueError: the conversation is not the trace's.
        """
        self._check(tokenizer, trace)
        _, found, follows = tokenizer.decode(rendered).rpartition(self._mark)
        if not found:
            raise ValueError(
                f"{KEY}.at=end: this server's chat template does not show the last answer; send "
                "the text that follows it to /generate."
            )
        return tokenizer.encode(follows, add_special_tokens=False)

    def _check(self, tokenizer, trace: Trace) -> None:
        said = tokenizer.decode(trace.output_ids.tolist(), skip_special_tokens=True)
        if isinstance(self._answer, str) and self._answer.strip() not in said:
            raise ValueError(
                f"{KEY}.at=end: the last assistant message is not the answer of the trace; got "
                f"{self._answer[:60]!r}."
            )
        before = tokenizer.decode(trace.prompt_ids.tolist())
        for at, message in enumerate(self._asked):
            text = message.get("content") if isinstance(message, dict) else None
            if isinstance(text, str) and text.strip() not in before:
                raise ValueError(
                    f"{KEY}.at=end: messages[{at}] is not in the trace's prompt; got {text[:60]!r}."
                )
