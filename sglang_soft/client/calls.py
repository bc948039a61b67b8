"""Requests as values: what each method of a client sends, and what reads the answer. No I/O."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypedDict, TypeVar

import orjson

from sglang_soft.client.answer import Answer, Json, Kept, read_chosen, read_generated
from sglang_soft.params import KEY
from sglang_soft.trace import Trace

T = TypeVar("T")
Thought = Answer | Trace | Kept | str
"""To go on from: an answer (what the server kept of it, else its trace), a trace, a handle."""


class Options(TypedDict, total=False):
    """Of a request; what is left out is the server's default."""

    messages: Sequence[Mapping[str, Any]]
    """A conversation, for the chat endpoint, in place of a question."""
    prompt: str | Sequence[int]
    """Raw text or tokens, for /generate, which applies no chat template."""
    thought: Thought
    """In `stream`, which also goes on from one."""
    at: Literal["next", "answer", "end"]
    """Where to go on from a thought: with its next step, at the beginning of the answer, or after
    all of it with the prompt or what follows in messages. If left out: where it stands."""
    cut: int
    """How many steps of the thought are kept; what came after is dropped first."""
    soft: Mapping[str, Any] | bool
    """Keys of `soft_thinking` (docs/parameters.md). True, or left out: its defaults. False: a
    discrete request."""
    concepts: bool
    """Bring the trace along. If left out: yes, but not in `fork`."""
    keep: bool
    """The server keeps the trace (`Answer.kept`)."""
    max_tokens: int
    """Thought and answer together. If left out: as the context has room for."""
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    seed: int
    stop: str | list[str]
    stop_regex: str | list[str]
    stop_token_ids: list[int]
    regex: str
    ebnf: str
    json_schema: Mapping[str, Any]
    extra: Mapping[str, Any]
    """Further keys of the chat request or, elsewhere, of `sampling_params`."""


_ELSEWHERE = {"messages", "prompt", "thought", "at", "cut", "soft", "concepts", "keep",
              "json_schema", "extra"}  # fmt: skip
"""Options that have no place of their own in the endpoints' sampling parameters."""
_GENERATE = {"max_tokens": "max_new_tokens", "seed": "sampling_seed"}


@dataclass(frozen=True)
class Call(Generic[T]):
    method: str
    path: str
    body: Any
    """JSON; None: there is none."""
    read: Callable[[bytes], T]
    """Of the answer's body."""


def ask(
    question: str | None, options: Options, *, n: int = 1, stream: bool = False
) -> Call[list[Answer]]:
    """Raises ValueError: nothing is asked, or two things are."""
    messages = options.get("messages")
    asked = [x for x in (question, messages, options.get("prompt")) if x is not None]
    if len(asked) > 1 or not (asked or "thought" in options):
        raise ValueError("give one of question, messages and prompt, or a thought alone.")
    if question is not None:
        messages = [{"role": "user", "content": question}]
    if messages is None:
        return _generate(options, _sampling(options) | {"n": n}, stream)
    body: Json = {"model": "default", "messages": list(messages), "n": n, "stream": stream}
    # SGLang refuses return_meta_info in a stream.
    body |= {"stream_options": {"include_usage": True}} if stream else {"return_meta_info": True}
    body |= {"custom_params": {KEY: _soft(options)}, **_given(options)}
    if "json_schema" in options:
        schema = {"name": "answer", "schema": options["json_schema"]}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return Call("POST", "/v1/chat/completions", body | dict(options.get("extra", {})), read_chosen)


def think(question: str | None, options: Options) -> Call[list[Answer]]:
    """Raises ValueError: as `ask`, and for a discrete request."""
    more: Options = {"keep": True, **options, "soft": {**_keys(options), "max_answer_tokens": 0}}
    return ask(question, more)


def resume(thought: Thought, options: Options) -> Call[list[Answer]]:
    return ask(None, {**options, "thought": thought})


def fork(
    thought: Thought, samples: int | Sequence[Options], options: Options
) -> Call[list[Answer]]:
    options = {"at": "answer", "concepts": False, **options, "thought": _sent(thought)}
    if isinstance(samples, int):
        return ask(None, options, n=samples)

    def merged(sample: Options) -> Options:
        return {**options, **sample, "soft": {**_keys(options), **_keys(sample)}}

    return _generate(options, [_sampling(merged(sample)) for sample in samples])


def trace(handle: Kept | str) -> Call[Trace]:
    return Call("GET", f"{_place(handle)}?format=npz", None, lambda b: Trace.load(io.BytesIO(b)))


def drop(handle: Kept | str) -> Call[None]:
    return Call("DELETE", _place(handle), None, lambda body: None)


def info() -> Call[Json]:
    return Call("GET", "/soft_thinking", None, orjson.loads)


def _place(handle: Kept | str) -> str:
    return f"/soft_thinking/traces/{handle.id if isinstance(handle, Kept) else handle}"


def _generate(
    options: Options, sampling: Json | list[Json], stream: bool = False
) -> Call[list[Answer]]:
    """sampling: a list: of each sample, in one request."""
    prompt = options.get("prompt", "")
    given: Any = prompt if isinstance(prompt, str) else list(prompt)
    body = {
        "text" if isinstance(prompt, str) else "input_ids":
            [given] * len(sampling) if isinstance(sampling, list) else given,
        "sampling_params": sampling, "stream": stream,
    }  # fmt: skip
    return Call("POST", "/generate", body, read_generated)


def _sampling(options: Options) -> Json:
    sampling: Json = {"max_new_tokens": None, "custom_params": {KEY: _soft(options)}}
    sampling |= {_GENERATE.get(key, key): value for key, value in _given(options).items()}
    if "json_schema" in options:
        sampling["json_schema"] = orjson.dumps(options["json_schema"]).decode()
    return sampling | dict(options.get("extra", {}))


def _given(options: Options) -> Json:
    """Raises TypeError: an option that there is not; no endpoint says so."""
    known = Options.__annotations__.keys()
    if unknown := sorted(options.keys() - known):
        raise TypeError(f"unknown option {', '.join(unknown)}; known: {', '.join(known)}.")
    return {key: value for key, value in options.items() if key not in _ELSEWHERE}


def _keys(options: Options) -> Mapping[str, Any]:
    """Of `soft`. Raises ValueError: a discrete request, which has no thought."""
    soft = options.get("soft", True)
    if soft is False:
        raise ValueError("soft must not be False where there is a thought to keep or go on from.")
    return {} if soft is True else soft


def _soft(options: Options) -> Json | Literal[False]:
    """The object `soft_thinking`."""
    thought, keep = options.get("thought"), options.get("keep", False)
    if options.get("soft") is False and thought is None and not keep:
        return False
    soft = {"return_concepts": options.get("concepts", True), **_keys(options)}
    found: Json = {"keep": keep or None, "trace": None if thought is None else _sent(thought)}
    found |= {"at": options.get("at"), "cut": options.get("cut")}
    return soft | {key: value for key, value in found.items() if value is not None}


def held(thought: Thought, *, prefer: type[Kept] | type[Trace] = Kept) -> Trace | Kept | str:
    """What stands for a thought. Raises ValueError: the answer has neither."""
    if not isinstance(thought, Answer):
        return thought
    found = [one for one in (thought.kept, thought.trace) if one is not None]
    if not found:
        raise ValueError("the answer has no trace: ask with concepts or keep.")
    return next((one for one in found if isinstance(one, prefer)), found[0])


def _sent(thought: Thought) -> str:
    """A handle, or a trace in base64."""
    found = held(thought)
    if isinstance(found, Trace):
        return found.to_base64()
    return found.id if isinstance(found, Kept) else found
