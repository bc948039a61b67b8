"""One sample: what is asked for it, and what the answer says of text, tokens and ending."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from sglang_soft_evals.config import Method, RunConfig
from sglang_soft_evals.hub import Question

_THINK_END = "</think>"


class Task(NamedTuple):
    """One sample to ask for."""

    method: Method
    question: Question
    sample: int
    seed: int


def seed_of(run_seed: int, question: str, sample: int) -> int:
    """The sampling seed, in [0, 2^31). The same for every method, so that methods share their
    luck."""
    digest = hashlib.sha256(orjson.dumps([run_seed, question, sample])).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def body(config: RunConfig, task: Task, prompt: str) -> dict[str, Any]:
    """The request. Everything but `custom_params` is the same for all methods."""
    request: dict[str, Any] = {
        "model": config.server.model if config.server.base_url else "default",
        "messages": [{"role": "user", "content": prompt}],
        "temperature": config.sampling.temperature,
        "top_p": config.sampling.top_p,
        "top_k": config.sampling.top_k,
        "min_p": config.sampling.min_p,
        "max_tokens": config.sampling.max_tokens,
        "seed": task.seed,
        "return_meta_info": True,
    }
    if task.method.soft_thinking is not None:
        request["custom_params"] = {"soft_thinking": dict(task.method.soft_thinking)}
    else:
        request["custom_params"] = {
            "soft_thinking": False
        }  # not the server-wide default, should there be one
    return request


def outcome(completion: Mapping[str, Any]) -> dict[str, Any]:
    """What a completion says of text, tokens and ending.

    Thinking tokens are those before think-end, answer tokens those behind it, for every method
    alike: SGLang counts both sides in `reasoning_tokens`, think-end included.
    """
    record: dict[str, Any] = {"status": "failed", "correct": None, "answer": None}
    record |= {"thinking_tokens": 0, "answer_tokens": 0, "completion_tokens": 0, "how_ended": None}
    record |= {"mean_entropy": None, "reasoning": "", "text": "", "error": completion.get("error")}
    if record["error"] is not None:
        return record
    choice = completion["choices"][0]
    meta, usage, message = (
        choice.get("meta_info") or {},
        completion.get("usage") or {},
        choice["message"],
    )
    finish = meta.get("finish_reason") or {"type": choice.get("finish_reason")}
    if finish.get("type") == "abort":
        return record | {"error": f"aborted by the server: {finish.get('message')}"}
    reasoning, text = message.get("reasoning_content") or "", message.get("content") or ""
    if not reasoning and _THINK_END in text:  # a server without a reasoning parser
        reasoning, text = text.split(_THINK_END, 1)
    completed = usage.get("completion_tokens", 0)
    soft = meta.get("soft_thinking")
    if soft is not None:
        thinking, answer, how = soft["thinking_tokens"], soft["answer_tokens"], soft["how_ended"]
    else:
        before = meta.get("reasoning_tokens") or usage.get("reasoning_tokens") or 0
        answer = completed - before
        how = None if not before else "think_end" if answer else str(finish.get("type"))
        thinking = before - (how == "think_end")
    return record | {
        "status": "truncated" if finish.get("type") == "length" else "ok",
        "thinking_tokens": thinking,
        "answer_tokens": answer,
        "completion_tokens": completed,
        "how_ended": how,
        "mean_entropy": None if soft is None else soft["mean_entropy"],
        "reasoning": reasoning,
        "text": text,
    }
