"""One sample: what is asked for it, and what its answer says about text, tokens and ending."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from sglang_soft.trace import THINK_END_REASONS
from sglang_soft_evals.config import Method, RunConfig
from sglang_soft_evals.hub import Question

_THINK_END = "</think>"
_NO_ANSWER: dict[str, Any] = {
    "status": "failed",
    "correct": None,
    "answer": None,
    "thinking_method": None,
    "thinking_tokens": 0,
    "answer_tokens": 0,
    "completion_tokens": 0,
    "thinking_finish_reason": None,
    "mean_entropy": None,
    "mixed_share": None,
    "reasoning": "",
    "text": "",
}
_SAME = ("thinking_tokens", "answer_tokens", "thinking_finish_reason", "mean_entropy",
         "mixed_share")  # fmt: skip
"""Have the same names in `meta_info.soft_thinking` and in a record."""


class Task(NamedTuple):
    """One sample to ask for."""

    method: Method
    question: Question
    sample: int
    seed: int


def seed_of(run_seed: int, question: str, sample: int) -> int:
    """The sampling seed, in [0, 2^31). It is the same for every method."""
    digest = hashlib.sha256(orjson.dumps([run_seed, question, sample])).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def body(config: RunConfig, task: Task, prompt: str) -> dict[str, Any]:
    """The request. Everything but `custom_params` is the same for all methods."""
    params = task.method.soft_thinking
    return {
        "model": config.server.model if config.server.base_url else "default",
        "messages": [{"role": "user", "content": prompt}],
        "temperature": config.sampling.temperature,
        "top_p": config.sampling.top_p,
        "top_k": config.sampling.top_k,
        "min_p": config.sampling.min_p,
        "max_tokens": config.sampling.max_tokens,
        "seed": task.seed,
        "return_meta_info": True,
        # False, not absent: the server may have a default that enables Soft Thinking.
        "custom_params": {"soft_thinking": False if params is None else dict(params)},
    }


def outcome(completion: Mapping[str, Any], *, thinks: bool = False) -> dict[str, Any]:
    """What a completion, or an error of `Client.chat`, says about text, tokens and ending.

    For every method, thinking tokens are those before think-end and answer tokens those after it.
    For a discrete request they are counted from SGLang's `reasoning_tokens`, which include
    think-end.

    Args:
        completion: the answer.
        thinks: prompts of this run end inside an open think block. On a server without a reasoning
            parser, a text without think-end is then a thought that did not end.

    Raises ValueError: an answer of another version of the plugin, or one that is no completion.
    """
    if completion.get("error") is not None:
        return _NO_ANSWER | {"error": completion["error"]}
    try:
        return _outcome(completion, thinks)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(
            f"the answer is no chat completion ({type(error).__name__}: {error}): "
            f"{str(dict(completion))[:200]}"
        ) from error


def _outcome(completion: Mapping[str, Any], thinks: bool) -> dict[str, Any]:
    choice, usage = completion["choices"][0], completion.get("usage") or {}
    meta, message = choice.get("meta_info") or {}, choice["message"]
    finish = meta.get("finish_reason") or {"type": choice.get("finish_reason")}
    if finish.get("type") == "abort":
        return _NO_ANSWER | {"error": f"aborted by the server: {finish.get('message')}"}
    reasoning, text = message.get("reasoning_content") or "", message.get("content") or ""
    counts = _thinking(meta, usage, str(finish.get("type")), bool(reasoning))
    if not reasoning:  # a server without a reasoning parser, or nothing was thought
        unfinished = counts["thinking_finish_reason"] not in (None, *THINK_END_REASONS.values())
        if _THINK_END in text:
            reasoning, text = text.split(_THINK_END, 1)
        elif unfinished or (thinks and counts["thinking_method"] is None):
            reasoning, text = text, ""
    return {
        "status": "truncated" if finish.get("type") == "length" else "ok",
        "correct": None,
        "answer": None,
        **counts,
        "reasoning": reasoning,
        "text": text,
        "error": None,
    }


def _thinking(
    meta: Mapping[str, Any], usage: Mapping[str, Any], finish: str, parsed: bool
) -> dict[str, Any]:
    """parsed: SGLang's reasoning parser found a thought; where it found none, its count of
    reasoning tokens means nothing."""
    completed = usage.get("completion_tokens", 0)
    if (soft := meta.get("soft_thinking")) is not None:
        if missing := [name for name in _SAME if name not in soft]:
            raise ValueError(
                f"meta_info.soft_thinking lacks {', '.join(missing)}: the server runs another "
                "version of the plugin than these evals"
            )
        same = {name: soft[name] for name in _SAME}
        return {"thinking_method": soft["method"], "completion_tokens": completed, **same}
    before = (meta.get("reasoning_tokens") or usage.get("reasoning_tokens") or 0) if parsed else 0
    answer = completed - before
    reason = None if not before else "stop_token" if answer else finish
    return {
        "thinking_method": None,
        "thinking_tokens": before - (reason == "stop_token"),
        "answer_tokens": answer,
        "completion_tokens": completed,
        "thinking_finish_reason": reason,
        "mean_entropy": None,
        "mixed_share": None,
    }


def other_method(asked: str | None, served: str | None) -> str | None:
    """What is wrong if the server used another method than the one asked for; None if nothing."""
    if asked == served:
        return None
    if served is None:
        return f"asked for method {asked!r}, the answer has no meta_info.soft_thinking"
    return f"asked for {'a discrete request' if asked is None else f'method {asked!r}'}, the " + (
        f"server used method {served!r}"
    )


def failed(record: dict[str, Any], error: str) -> dict[str, Any]:
    """The record of an answer that does not count."""
    return record | _NO_ANSWER | {"error": error}
