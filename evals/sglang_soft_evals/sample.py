"""One sample: what is asked for it, and what its answer says about text, tokens and ending."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from sglang_soft.trace import THINK_END_REASONS
from sglang_soft_evals import forking
from sglang_soft_evals.config import Method, RunConfig
from sglang_soft_evals.counting import ThinkTokens, of_discrete, of_plugin
from sglang_soft_evals.hub import Question
from sglang_soft_evals.thoughts import Parts, split

UNKNOWN = ThinkTokens()
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
    "mean_concept_size": None,
    "mixed_share": None,
    "reasoning": "",
    "text": "",
}


class Answer(NamedTuple):
    """One answer of a thought."""

    sample: int
    seed: int


class Task(NamedTuple):
    """One sample to ask for, or several answers of one thought."""

    method: Method
    question: Question
    sample: int
    seed: int
    answers: tuple[Answer, ...] = ()
    """The samples that go on from one thought, which is of `sample` and `seed`; empty: the sample
    has a thought of its own."""


def seed_of(run_seed: int, question: str, sample: int) -> int:
    """The sampling seed, in [0, 2^31). It is the same for every method."""
    digest = hashlib.sha256(orjson.dumps([run_seed, question, sample])).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def body(config: RunConfig, task: Task, prompt: str) -> dict[str, Any]:
    """The request. Everything but `custom_params` is the same for all methods."""
    params = task.method.soft_thinking
    if params is not None and config.keeps_trace(task.sample):
        params = {**params, "return_concepts": True}
    if params is not None and task.method.answers_per_thought > 1:
        params = {**params, **forking.THOUGHT}
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
        "return_token_ids": True,  # counts where no reasoning parser does
        # False, not absent: the server may have a default that enables Soft Thinking.
        "custom_params": {"soft_thinking": False if params is None else dict(params)},
    }


def outcome(completion: Mapping[str, Any], think: ThinkTokens = UNKNOWN) -> dict[str, Any]:
    """What a completion, or an error of `Client.chat`, says about text, tokens and ending.

    An answer that is not as SGLang's API has it is a failed sample, whose error says what is wrong.
    """
    if completion.get("error") is not None:
        return _NO_ANSWER | {"error": str(completion["error"])}
    try:
        return _read(completion, think)
    except ValueError as error:
        return _NO_ANSWER | {"error": f"malformed answer: {error}"}


def _read(completion: Mapping[str, Any], think: ThinkTokens) -> dict[str, Any]:
    """Raises ValueError that names the field that is not as it must be."""
    choices = _field(completion, "choices", list)
    if not choices or not isinstance(choices[0], Mapping):
        raise ValueError(f"choices must hold an object; got {choices!r}")
    choice: Mapping[str, Any] = choices[0]
    meta = _field(choice, "meta_info", Mapping, {})
    message, usage = _field(choice, "message", Mapping), _field(completion, "usage", Mapping, {})
    finish = meta.get("finish_reason") or choice.get("finish_reason")
    if isinstance(finish, str):
        finish = {"type": finish}
    if not isinstance(finish, Mapping) or not isinstance(finish.get("type"), str):
        raise ValueError(f"finish_reason must be stop, length or abort; got {finish!r}")
    if finish["type"] == "abort":
        return _NO_ANSWER | {"error": f"aborted by the server: {finish.get('message')}"}
    text = _field(message, "content", str, "")
    parts = split(_reasoning(message), text, think.is_open)
    completed = _field(usage, "completion_tokens", int, 0)
    if (soft := _field(meta, "soft_thinking", Mapping, None)) is not None:
        thinking = of_plugin(soft, completed)
        reason = thinking["thinking_finish_reason"]
        if reason is not None and (
            reason not in THINK_END_REASONS.values() or not thinking["answer_tokens"]
        ):
            parts = Parts(parts.reasoning or text, "")  # a thought that was cut
    else:
        reported = [_field(d, "reasoning_tokens", int, 0) for d in (meta, usage)]
        ids = _field(choice, "response_token_ids", list, None)
        thinking = of_discrete(ids, completed, max(reported), parts, finish["type"], think)
    return {
        "status": "truncated" if finish["type"] == "length" else "ok",
        "correct": None,
        "answer": None,
        **thinking,
        "reasoning": parts.reasoning,
        "text": parts.answer,
        "error": None,
    }


def _reasoning(message: Mapping[str, Any]) -> str:
    """SGLang's name of the field, or the one of other servers."""
    for name in ("reasoning_content", "reasoning"):
        if text := _field(message, name, str, ""):
            return text
    return ""


_REQUIRED = object()


def _field(owner: Mapping[str, Any], name: str, kind: Any, default: Any = _REQUIRED) -> Any:
    """A field, or the default if it is missing or null. Raises ValueError for another type."""
    value = owner.get(name)
    if value is None and default is not _REQUIRED:
        return default
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = {Mapping: "an object", list: "a list", str: "a text", int: "a whole number"}[kind]
        raise ValueError(f"{name} must be {wanted}; got {value!r:.100}")
    return value


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
