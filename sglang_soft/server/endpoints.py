"""The HTTP endpoints that generate: where a body asks for Soft Thinking, and where the answer says
how it went. SGLang's /generate and its OpenAI, Anthropic, Ollama and cloud endpoints.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from sglang_soft.params import KEY
from sglang_soft.server.next_turn import NextTurn

Json = dict[str, Any]
Answers = list[Json | None]
"""`meta_info.soft_thinking` of every generation of one HTTP request, in order; None: not there
yet."""


def _choices(data: Json, answers: Answers) -> bool:
    """OpenAI's chat and completions: `choices[i].meta_info.soft_thinking`, as in SGLang's answers
    with `return_meta_info`; in a stream with the choice's last chunk."""
    edited = False
    for choice in data.get("choices") or ():
        index = choice.get("index", 0)
        info = answers[index] if index < len(answers) else None
        if info is not None and choice.get("finish_reason") is not None:
            choice["meta_info"] = (choice.get("meta_info") or {}) | {KEY: info}
            edited = True
    return edited


def _last(data: Json, answers: Answers) -> bool:
    """`soft_thinking` next to what the answer says. Where tools made it several generations, it is
    the last one's, with the others in its `earlier`."""
    there = [info for info in answers if info is not None]
    if there:
        data[KEY] = there[-1] | ({"earlier": there[:-1]} if there[1:] else {})
    return bool(there)


def _response(data: Json, answers: Answers) -> bool:
    """OpenAI's responses; in a stream in the event that carries the whole response."""
    if data.get("object") == "response":
        return _last(data, answers)
    ended = data.get("type") in ("response.completed", "response.incomplete", "response.failed")
    return ended and _last(data["response"], answers)


def _message(data: Json, answers: Answers) -> bool:
    """Anthropic's messages; in a stream in `message_delta`, next to `usage`."""
    return data.get("type") in ("message", "message_delta") and _last(data, answers)


def _done(data: Json, answers: Answers) -> bool:
    """Ollama; in a stream in the last line."""
    return bool(data.get("done")) and _last(data, answers)


class Endpoint(NamedTuple):
    place: tuple[str, ...]
    """Where the key belongs: the path of `custom_params` in the body."""
    put: Callable[[Json, Answers], bool] | None
    """Puts the summaries into one JSON object of the answer; False: they do not belong there. None:
    SGLang does it."""
    carried: bool = True
    """SGLang passes `custom_params` on; else we do."""
    anthropic: bool = False
    """Errors as Anthropic's API has them."""
    chat: bool = False
    """OpenAI's chat: `messages`."""


_TOP = ("custom_params",)
_GENERATE = Endpoint(("sampling_params", "custom_params"), None)
_CHAT = Endpoint(_TOP, _choices, chat=True)
ENDPOINTS: Mapping[str, Endpoint] = {
    "/generate": _GENERATE,
    "/v1/chat/completions": _CHAT,
    "/v1/completions": Endpoint(_TOP, _choices),
    "/v1/responses": Endpoint(_TOP, _response, carried=False),
    "/v1/messages": Endpoint(_TOP, _message, carried=False, anthropic=True),
    "/invocations": _CHAT,
    os.environ.get("SGLANG_OLLAMA_CHAT_ROUTE", "/api/chat"): Endpoint(_TOP, _done, carried=False),
    os.environ.get("SGLANG_OLLAMA_GENERATE_ROUTE", "/api/generate"): Endpoint(
        _TOP, _done, carried=False
    ),
    os.environ.get("AIP_PREDICT_ROUTE", "/vertex_generate"): Endpoint(
        ("parameters", "sampling_params", "custom_params"), None
    ),
}
OTHERS = ("/v1/score", "/v1/rerank", "/v1/decisions", "/v1/systemone", "/v1/embeddings", "/encode",
          "/classify", "/v1/classify", "/v1/audio/transcriptions")  # fmt: skip
"""Endpoints that generate no text, or not from a prompt of the client's."""

_FREE = {"messages", "input", "prompt", "text", "input_ids", "tools", "functions", "metadata",
         "response_format", "instances", "image_data"}  # fmt: skip
"""Keys whose values are the client's own text and data."""


def mentions(body: bytes) -> bool:
    """Whether it is worth looking for the key, or a misspelling of it."""
    return re.search(rb"(?i)soft|thinking|custom_params", body) is not None


def looks_like_key(name: str) -> bool:
    plain = re.sub("[^a-z]", "", name.lower())
    return "softthink" in plain or bool(get_close_matches(name.lower(), [KEY], cutoff=0.85))


def check_places(path: str, body: Any) -> Json:
    """The `custom_params` of a body.

    Raises ValueError: the key, or `custom_params` with it, is where nobody reads it.
    """
    endpoint = ENDPOINTS.get(path)
    place: tuple[str, ...] = () if endpoint is None else endpoint.place
    found: Json = {}
    for where, name, value in _keys(body, ()):
        if (*where, name) == place:
            if value is not None and not isinstance(value, dict):
                raise ValueError(f"{'.'.join(place)} must be an object; got {value!r:.100}.")
            found = value or {}
        elif looks_like_key(name) or (name == "custom_params" and _has_key(value)):
            if place and where == place:
                continue  # in its place: what is wrong with it is found where it is read
            if endpoint is None:
                raise ValueError(f"{path} does not support Soft Thinking ({name!r}).")
            said = ".".join((*where, name))
            raise ValueError(
                f"{said}: the key of Soft Thinking belongs at {'.'.join((*place, KEY))}."
            )
    return found


def complete_body(endpoint: Endpoint, body: Json, asked: Json) -> tuple[bool, NextTurn | None]:
    """Make `body` what SGLang needs where a request goes on from a trace, in place. asked: its
    `soft_thinking`. Returns whether it was changed, and the turn of a chat.

    Raises ValueError: this endpoint cannot do it.
    """
    end = asked.get("at") == "end"
    if endpoint.chat:
        answers = asked.get("at") == "answer"
        if answers:  # no think-end follows
            body.setdefault("separate_reasoning", False)
        return end or answers, NextTurn(body) if end else None
    if end and any(isinstance(body.get(key), list) and body[key] for key in ("messages", "input")):
        raise ValueError(f"{KEY}.at=end needs /v1/chat/completions or /generate.")
    if endpoint is _GENERATE and not any(key in body for key in ("text", "input_ids")):
        body["text"] = ""  # the trace's own prompt
        return True, None
    return False, None


def _has_key(value: Any) -> bool:
    return isinstance(value, dict) and any(looks_like_key(name) for name in value)


def _keys(node: Any, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    if not isinstance(node, dict) or len(where) > 3:
        return
    for name, value in node.items():
        yield where, name, value
        if name not in _FREE:
            # A batch has one object of sampling parameters for each prompt.
            for part in value if isinstance(value, list) else [value]:
                yield from _keys(part, (*where, name))
