"""A streamed answer, read as it comes. No I/O."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from sglang_soft.client.answer import Answer, Json, chosen, generated
from sglang_soft.client.errors import NoAnswer, refusal
from sglang_soft.params import KEY
from sglang_soft.trace import Concept
from sglang_soft.trace.steps import decode_offset


@dataclass(frozen=True)
class Chunk:
    text: str = ""
    """New text of the answer; of a raw prompt also of the thought."""
    thinking: str = ""
    """New text of the thought, where the server separates it."""
    concepts: tuple[Concept, ...] = ()
    """New thinking steps, as they are made; over the chat endpoint all of them at the end. The
    first chunk has those of a given thought as well."""
    tokens: tuple[int, ...] = ()
    """New output tokens; over the chat endpoint there are none."""
    start: int | None = None
    """Position of the thought's first step, once there is one; not over the chat endpoint."""
    answer: Answer | None = None
    """The whole answer; in the last chunk only."""


class Reading:
    """The events of one streamed answer."""

    def __init__(self) -> None:
        self._rest = b""
        self._last: Json = {}
        """Of /generate: the last event. Of a chat: the choice so far."""
        self._parts: list[Json] = []
        self._usage: Json = {}
        self._done = False

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """Raises ServerError."""
        # Not str.splitlines: it also splits at characters that a JSON text may contain.
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            content = line.strip().removeprefix(b"data:").strip()
            if content == b"[DONE]":
                self._done = True
            elif line.startswith(b"data:"):
                yield self._event(content)

    def end(self) -> Chunk:
        """The last chunk. Raises NoAnswer: the stream broke off."""
        if not self._done or not self._last:
            raise NoAnswer("the stream broke off before its end.")
        if "message" in self._last:
            answer = chosen(self._last, self._usage)
            trace = answer.trace
            concepts = () if trace is None else tuple(map(trace.concept, range(len(trace.steps))))
            return Chunk(concepts=concepts, answer=answer)
        return Chunk(answer=generated(self._last, self._parts))

    def _event(self, content: bytes) -> Chunk:
        event: Json = orjson.loads(content)
        if "error" in event:
            raise refusal(500, content)
        return self._generated(event) if "meta_info" in event else self._chosen(event)

    def _generated(self, event: Json) -> Chunk:
        """SGLang's text and ids are cumulative, or with --incremental-streaming-output only new."""
        info, ids, before = event["meta_info"], event["output_ids"], self._last
        new = info["completion_tokens"] - before.get("meta_info", {}).get("completion_tokens", 0)
        text = event["text"]
        if before and len(ids) == new:
            event |= {"text": before["text"] + text, "output_ids": before["output_ids"] + ids}
        else:
            text = text[len(before.get("text", "")) :]
            ids = ids[len(before.get("output_ids", ())) :]
        self._last = event
        part = info.get(KEY, {}).get("trace")
        if part is None:
            return Chunk(text, tokens=tuple(ids))
        self._parts.append(part)
        return Chunk(text, concepts=_concepts(part), tokens=tuple(ids), start=part.get("start"))

    def _chosen(self, event: Json) -> Chunk:
        self._usage = event.get("usage") or self._usage
        text = thinking = ""
        for choice in event["choices"]:
            delta = choice["delta"]
            text, thinking = delta.get("content") or "", delta.get("reasoning_content") or ""
            message = self._last.get("message") or {"content": "", "reasoning_content": None}
            message["content"] += text
            if thinking:
                message["reasoning_content"] = (message["reasoning_content"] or "") + thinking
            self._last = choice | {"message": message}
        return Chunk(text, thinking)


def _concepts(part: Json) -> tuple[Concept, ...]:
    count, offsets = len(part.get("entropy", ())), part.get("embedding_offsets")
    rows: Any = [None] * count
    if offsets and count:
        raw = np.frombuffer(base64.b64decode(offsets["data"]), np.uint8).reshape(count, -1)
        rows = [decode_offset(row, offsets["dtype"]) for row in raw]
    return tuple(
        Concept(np.array(ids, np.int32), np.array(weights, np.float32), entropy, offset)
        for ids, weights, entropy, offset in zip(
            part.get("ids", ()), part.get("weights", ()), part.get("entropy", ()), rows, strict=True
        )
    )
