"""What a client sends, and how it reads what a server refuses. No server is asked."""

import base64
import io
import socket

import numpy as np
import orjson
import pytest

from sglang_soft.client import (
    Answer,
    Client,
    Kept,
    NoAnswer,
    ServerError,
    Tokens,
    UnknownTrace,
    calls,
)
from sglang_soft.client.errors import refusal
from sglang_soft.client.sync import settings
from sglang_soft.server.process import free_port
from sglang_soft.trace import Steps, Trace

MESSAGES = [{"role": "user", "content": "6*7?"}, {"role": "assistant", "content": "42"}]
SAMPLING = {"temperature": 0.5, "top_p": 0.9, "top_k": 7, "min_p": 0.1, "stop": ["x"],
            "stop_regex": "y", "stop_token_ids": [3], "regex": "z", "ebnf": "w"}  # fmt: skip


def trace() -> Trace:
    steps = Steps(2)
    steps.append(np.array([4, 5], np.int32), np.array([0.75, 0.25], np.float32), 0.5)
    ids = np.array([1, 2], np.int32), np.array([4], np.int32)
    return Trace(method="soft", steps=steps, start=2, prompt_ids=ids[0], output_ids=ids[1])


def answer(**fields) -> Answer:
    known = {"text": "", "thinking": None, "finish_reason": "stop", "summary": None, "raw": {},
             "tokens": Tokens(1, 2, 0), "trace": None, "kept": None}  # fmt: skip
    return Answer(**known | fields)


def sampling(call: calls.Call) -> dict:
    return call.body["sampling_params"]


def soft(call: calls.Call) -> dict:
    return sampling(call)["custom_params"]["soft_thinking"]


def test_a_question_is_a_chat():
    call = calls.ask("6*7?", {"soft": {"max_topk": 3}, "seed": 5, "max_tokens": 9, **SAMPLING})
    assert (call.method, call.path) == ("POST", "/v1/chat/completions")
    assert call.body == {
        "model": "default", "messages": MESSAGES[:1], "n": 1, "stream": False,
        "return_meta_info": True, "seed": 5, "max_tokens": 9, **SAMPLING,
        "custom_params": {"soft_thinking": {"max_topk": 3, "return_concepts": True}},
    }  # fmt: skip
    assert calls.ask(None, {"messages": MESSAGES}).body["messages"] == MESSAGES
    schema = calls.ask("?", {"json_schema": {"type": "integer"}}).body["response_format"]
    assert schema["json_schema"]["schema"] == {"type": "integer"}
    assert calls.ask("?", {"extra": {"logit_bias": {"4": 1}}}).body["logit_bias"] == {"4": 1}


def test_a_prompt_is_raw_text_or_tokens():
    call = calls.ask(None, {"prompt": "6*7?", "seed": 5, "max_tokens": 9, **SAMPLING})
    assert call.path == "/generate" and call.body["text"] == "6*7?"
    custom = {"soft_thinking": {"return_concepts": True}}
    sent = {"max_new_tokens": 9, "sampling_seed": 5, "n": 1, "custom_params": custom, **SAMPLING}
    assert sampling(call) == sent
    assert calls.ask(None, {"prompt": (1, 2)}).body["input_ids"] == [1, 2]
    call = calls.ask(None, {"prompt": "", "json_schema": {}, "extra": {"ignore_eos": True}})
    assert sampling(call)["json_schema"] == "{}" and sampling(call)["ignore_eos"] is True
    assert sampling(call)["max_new_tokens"] is None, "SGLang's default would be 128"


def test_no_option_is_dropped():
    sent = {*SAMPLING, "seed", "max_tokens", "json_schema", "extra"}
    of_thoughts = {"messages", "prompt", "thought", "at", "cut", "soft", "concepts", "keep"}
    assert set(calls.Options.__annotations__) == sent | of_thoughts
    for call in (
        lambda options: calls.ask("?", options),
        lambda options: calls.ask(None, {"prompt": "?"} | options),
        lambda options: calls.fork("trace-1", [{}, options], {}),
    ):
        with pytest.raises(TypeError, match="unknown option warmth; known: messages, prompt"):
            call({"warmth": 0.6})


@pytest.mark.parametrize(
    ("question", "options"),
    [(None, {}), ("a", {"prompt": "b"}), ("a", {"messages": []}), (None, {"prompt": "", "messages": []})],
)  # fmt: skip
def test_one_thing_is_asked(question, options):
    with pytest.raises(ValueError, match="give one of question, messages and prompt"):
        calls.ask(question, options)


def test_discrete_requests():
    call = calls.ask("?", {"soft": False})
    assert call.body["custom_params"] == {"soft_thinking": False}
    for wrong in (
        lambda: calls.ask("?", {"soft": False, "keep": True}),
        lambda: calls.think("?", {"soft": False}),
        lambda: calls.resume("trace-1", {"soft": False}),
        lambda: calls.fork("trace-1", 2, {"soft": False}),
        lambda: calls.fork("trace-1", [{"soft": False}], {}),
    ):
        with pytest.raises(ValueError, match="soft must not be False"):
            wrong()


def test_a_thought_alone_is_kept():
    call = calls.think("?", {"soft": {"max_topk": 3}, "concepts": False})
    sent = {"max_topk": 3, "max_answer_tokens": 0, "keep": True, "return_concepts": False}
    assert call.body["custom_params"]["soft_thinking"] == sent
    call = calls.think(None, {"prompt": "?", "keep": False})
    assert "keep" not in soft(call) and soft(call)["max_answer_tokens"] == 0


def test_what_stands_for_a_thought():
    kept, made = Kept("trace-1", 60.0, 100), trace()
    for thought in ("trace-1", kept, answer(kept=kept), answer(kept=kept, trace=made)):
        call = calls.resume(thought, {"at": "answer", "cut": 3})
        assert call.path == "/generate" and call.body["text"] == ""
        found = {"return_concepts": True, "trace": "trace-1", "at": "answer", "cut": 3}
        assert soft(call) == found
    for thought in (made, answer(trace=made)):
        file = io.BytesIO(base64.b64decode(soft(calls.resume(thought, {}))["trace"]))
        assert Trace.load(file).to_json() == made.to_json()
    call = calls.resume("trace-1", {"at": "end", "prompt": "And 2*3?"})
    assert call.body["text"] == "And 2*3?" and soft(call)["at"] == "end"
    chat = calls.resume("trace-1", {"at": "end", "messages": MESSAGES})
    assert chat.body["messages"] == MESSAGES and chat.path == "/v1/chat/completions"
    assert chat.body["custom_params"]["soft_thinking"]["trace"] == "trace-1"
    with pytest.raises(ValueError, match="the answer has no trace"):
        calls.resume(answer(), {})


def test_a_fork_is_one_request():
    call = calls.fork("trace-1", 3, {"temperature": 0.7})
    assert call.body["text"] == "" and sampling(call)["n"] == 3
    assert sampling(call)["temperature"] == 0.7
    assert soft(call) == {"return_concepts": False, "trace": "trace-1", "at": "answer"}

    samples = [{"seed": 1}, {"seed": 2, "regex": "[0-9]", "soft": {"answer_top_k": 2}}]
    call = calls.fork("trace-1", samples, {"at": "next", "soft": {"max_topk": 3}, "top_p": 0.5})
    assert call.body["text"] == ["", ""]
    first, second = sampling(call)
    assert (first["sampling_seed"], second["sampling_seed"]) == (1, 2)
    assert "regex" not in first and second["regex"] == "[0-9]"
    assert first["top_p"] == second["top_p"] == 0.5
    each = [one["custom_params"]["soft_thinking"] for one in (first, second)]
    common = {"return_concepts": False, "trace": "trace-1", "at": "next", "max_topk": 3}
    assert each == [common, common | {"answer_top_k": 2}]


def test_traces_that_a_server_keeps():
    for handle in ("trace-1", Kept("trace-1", 60.0, 100)):
        call = calls.trace(handle)
        assert (call.method, call.path) == ("GET", "/soft_thinking/traces/trace-1?format=npz")
        assert (calls.drop(handle).method, calls.drop(handle).body) == ("DELETE", None)
    file = io.BytesIO()
    trace().save(file)
    assert calls.trace("trace-1").read(file.getvalue()).to_json() == trace().to_json()


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (400, {"error": {"message": "no k"}}, ServerError, "HTTP 400: no k"),
        (400, {"object": "error", "message": "no k", "code": 400}, ServerError, "HTTP 400: no k"),
        (404, {"error": {"message": "no trace is kept under x"}}, UnknownTrace, "is kept under x"),
        (404, {"detail": "Not Found"}, ServerError, "HTTP 404: Not Found"),
        (200, {"error": {"message": "too long", "code": 400}}, ServerError, "HTTP 400: too long"),
    ],
)  # fmt: skip
def test_refusals(status, body, kind, said):
    error = refusal(status, orjson.dumps(body))
    assert type(error) is kind and said in str(error)


def test_a_refusal_that_is_no_json():
    error = refusal(502, b"<html>Bad Gateway")
    assert error.status == 502 and error.message == "<html>Bad Gateway"


def test_a_server_that_does_not_answer():
    with (
        Client(f"http://127.0.0.1:{free_port()}") as client,
        pytest.raises(NoAnswer, match="127.0"),
    ):
        client.info()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout=0.2) as client:
            with pytest.raises(NoAnswer, match="ReadTimeout"):
                client.ask("?")
            with pytest.raises(NoAnswer, match="ReadTimeout"):
                next(client.stream("?"))
    for wrong in ("127.0.0.1:30000", "ftp://host", "http://"):
        with pytest.raises(ValueError, match="must be an http or https address"):
            Client(wrong)


def test_what_the_server_could_not_keep():
    soft = {"method": "soft", "thinking_tokens": 1, "answer_tokens": 0, "mixed_share": 1.0,
            "thinking_finish_reason": "length", "mean_concept_size": 2.0, "mean_entropy": 0.5,
            "final_entropy": 0.5, "retractions": {}, "kept": {"id": None, "error": "too large"},
            "trace": trace().to_json()}  # fmt: skip
    out = {"text": "", "meta_info": {"soft_thinking": soft, "finish_reason": {"type": "length"}}}
    (read,) = calls.ask(None, {"prompt": ""}).read(orjson.dumps(out))
    assert read.kept is None and "too large" in str(read.raw)
    assert read.trace.ids.tolist() == [[4, 5]]
    assert "ids" not in str(read.raw), "the trace is held once"
    with pytest.raises(AttributeError):
        read.text = "frozen"


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_an_openai_address_is_the_servers(end):
    with Client(f"http://127.0.0.1:9{end}") as client:
        assert client.url == "http://127.0.0.1:9"
    assert settings(f"http://127.0.0.1:9{end}", None, 1.0)["base_url"] == "http://127.0.0.1:9"
