"""An answer as a value, and how it is read from what the endpoints send."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import orjson

from sglang_soft.params import KEY
from sglang_soft.trace import Trace

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """`meta_info.soft_thinking`: how the thought went (docs/parameters.md, "The answer")."""

    method: str
    thinking_tokens: int
    answer_tokens: int
    thinking_finish_reason: str | None
    mean_concept_size: float | None
    mixed_share: float | None
    mean_entropy: float | None
    """nats; None: it never thought."""
    final_entropy: float | None
    retractions: Mapping[str, int]
    seed: int | None = None
    given: Mapping[str, int] | None = None
    """`steps` and `output_tokens` that came from the trace that the request went on from."""


@dataclass(frozen=True)
class Kept:
    """A trace that the server keeps."""

    id: str
    expires_in: float
    """seconds"""
    bytes: int


@dataclass(frozen=True)
class Tokens:
    """Counts of one answer; None: the endpoint does not say."""

    prompt: int | None
    """Everything that was fed before the first new token."""
    completion: int | None
    cached: int | None
    """Of `prompt`, what was in the prefix cache."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    text: str
    """New text. Of a question: without the thought, if the server has a reasoning parser. Of a raw
    prompt, or a thought: with what is new of the thought and think-end."""
    thinking: str | None
    """The thought, where the server separates it."""
    finish_reason: str | None
    """Why the request ended, such as stop or length."""
    tokens: Tokens
    summary: Summary | None
    """None: a discrete request."""
    trace: Trace | None
    """All steps and tokens; None: it was not asked for (`concepts`)."""
    kept: Kept | None
    """With `keep`; None: the trace is larger than what the server keeps, as `raw` says."""
    raw: Json
    """What the server sent for this answer, without the trace."""


def generated(out: Json, parts: Iterable[Json] | None = None) -> Answer:
    """An answer of /generate. parts: of its trace, where it was streamed."""
    info = out["meta_info"]
    reason = (info.get("finish_reason") or {}).get("type")
    return _answer(out, info, info, parts, text=out["text"], thinking=None, finish_reason=reason)


def chosen(choice: Json, usage: Json) -> Answer:
    """A choice of a chat completion. usage: counts, where the choice has none."""
    info, message = choice.get("meta_info") or {}, choice["message"]
    return _answer(
        choice, info, info if "prompt_tokens" in info else usage, None,
        text=message.get("content") or "", thinking=message.get("reasoning_content"),
        finish_reason=choice.get("finish_reason"),
    )  # fmt: skip


def read_generated(body: bytes) -> list[Answer]:
    found = orjson.loads(body)
    return [generated(out) for out in (found if isinstance(found, list) else [found])]


def read_chosen(body: bytes) -> list[Answer]:
    found = orjson.loads(body)
    return [chosen(choice, found.get("usage") or {}) for choice in found["choices"]]


def _answer(raw: Json, info: Json, counts: Json, parts: Any, **texts: Any) -> Answer:
    """Takes the trace out of `info`, a part of `raw`."""
    soft = info.get(KEY) or {}
    part, kept = soft.pop("trace", None), soft.get("kept") or {}
    names = [field.name for field in fields(Summary) if field.name in soft]
    cached = (counts.get("prompt_tokens_details") or counts).get("cached_tokens")
    return Answer(
        tokens=Tokens(counts.get("prompt_tokens"), counts.get("completion_tokens"), cached),
        summary=Summary(**{name: soft[name] for name in names}) if soft else None,
        trace=None if part is None else Trace.from_json(parts or part),
        kept=Kept(kept["id"], kept["expires_in"], kept["bytes"]) if kept.get("id") else None,
        raw=raw, **texts,
    )  # fmt: skip
