"""From the scheduler's trace to `meta_info.soft_thinking`, as the client reads it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import sglang_soft
from sglang_soft.trace import StepsDelta, Trace
from sglang_soft.trace.check import TOKENIZER_PROBE
from sglang_soft.trace.codec import header, steps_to_json


class Payload(NamedTuple):
    """What the scheduler sends along with new tokens of one soft request."""

    delta: StepsDelta | None
    """Steps since the last payload; None unless the request asked for its trace."""
    summary: dict[str, Any] | None
    """Set once, when the request has finished."""
    header: dict[str, Any] | None
    """The rest of the trace; set with the summary, if the trace was asked for."""
    logits: bytes = b""
    """Of a request that reads logits: [n, V] float32."""
    hidden: bytes = b""
    """[n, H] float32"""

    @classmethod
    def of(cls, req, model: dict[str, Any]) -> "Payload | None":
        """What is new for the client. req: SGLang's Req. model: fingerprint."""
        soft = req.soft
        if soft is None:
            return None
        returned = soft.params.returns_trace
        wants_trace = returned or soft.request.keep
        # A trace that is only kept is sent to the front end at once.
        delta = soft.take_delta() if returned or (wants_trace and req.finished()) else None
        if not req.finished():
            return cls(delta, None, None) if delta and delta.steps else None
        soft.check()
        soft.finish(req.origin_input_ids, req.output_ids, _why(req))
        soft.trace.model = model
        if soft.reading is not None:
            read = soft.reading
            return cls(
                None, soft.summary(), {"model": model}, read.logits.tobytes(), read.hidden.tobytes()
            )
        return cls(delta, soft.summary(), header(soft.trace) if wants_trace else None)


def _why(req) -> str:
    """What ended SGLang's Req, in the words of `thinking_finish_reason`."""
    reason = req.finished_reason
    kind = type(reason).__name__
    if kind == "FINISH_MATCHED_TOKEN":
        named = reason.matched in (req.sampling_params.stop_token_ids or ())
        return "stop_token_id" if named else "stop_eos"
    names = {"FINISH_MATCHED_STR": "stop_string", "FINISHED_MATCHED_REGEX": "stop_regex"}
    return names.get(kind) or reason.to_json()["type"]


class ClientTrace:
    """Collects payloads of one request; hands out every step once, the rest when it is there."""

    def __init__(
        self, front_end: dict[str, Any], returned: bool = True,
        keep: Callable[[Trace], dict[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        """front_end: what the front end adds to the trace's header. returned: the client gets the
        trace. keep: what keeps it; returns what the client reads of that."""
        self._front_end, self._returned, self._keep = front_end, returned, keep
        self._deltas: list[StepsDelta] = []
        self._kept_deltas: list[StepsDelta] = []
        self._summary: dict[str, Any] | None = None
        self._header: dict[str, Any] | None = None
        self._read: dict[str, bytes] = {}

    def add(self, payload: Payload) -> None:
        if payload.delta is not None:
            self._deltas.append(payload.delta)
            if self._keep is not None:
                self._kept_deltas.append(payload.delta)
        self._summary = payload.summary or self._summary
        self._header = payload.header or self._header
        if payload.logits:
            self._read = {"logits": payload.logits, "hidden": payload.hidden}

    def take(self, weights: str | None = None) -> dict[str, Any]:
        """The summary if it is there, and the steps that were not taken before. weights: SGLang's
        `weight_version`, which is known with the answer."""
        deltas, self._deltas = self._deltas, []
        info = {**(self._summary or {}), **self._read}
        part: dict[str, Any] = {}
        if deltas and self._returned:
            part = steps_to_json(joined(deltas))
        head = {} if self._header is None else self._header | self._front_end
        if head:
            head["versions"] = head["versions"] | {"weights": weights}
        if self._returned or self._keep is None:
            part |= head
        if part:
            info["trace"] = part
        if head and self._keep is not None:
            info["kept"] = self._keep(Trace.of(joined(self._kept_deltas), head))
            self._keep = None
        return info


def joined(deltas: list[StepsDelta]) -> StepsDelta:
    """Consecutive deltas as one."""
    first = deltas[0]
    if len(deltas) == 1:
        return first
    return first._replace(
        start=next((d.start for d in deltas if d.start is not None), None),
        steps=sum(d.steps for d in deltas),
        ids=b"".join(d.ids for d in deltas),
        weights=b"".join(d.weights for d in deltas),
        entropy=b"".join(d.entropy for d in deltas),
        offsets=b"".join(d.offsets for d in deltas),
        extra={name: b"".join(d.extra[name] for d in deltas) for name in first.extra},
    )


def front_end_header(tokenizer, think_tokens, sglang_version: str) -> dict[str, Any]:
    """Fingerprint of the tokenizer, and versions: what the front end adds to a trace."""
    return {
        "tokenizer": {
            "vocab_size": None if tokenizer is None else len(tokenizer),
            "probe": None if tokenizer is None else tokenizer.encode(TOKENIZER_PROBE),
            **think_tokens.to_json(),
        },
        "versions": {"sglang": sglang_version, "sglang_soft": sglang_soft.__version__},
    }
