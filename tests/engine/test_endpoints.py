"""Every HTTP endpoint that generates: Soft Thinking reaches it, its answer carries the summary, and
the key in a wrong place is refused."""

import json
from collections.abc import Callable
from typing import NamedTuple

import pytest
import requests

from tests.issue_table import row
from tests.releases import OLD

QUESTION = "What is 43*34?"
PROMPT = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n<think>\n"
SOFT = {"answer_temperature": 0.0, "return_concepts": True}
GREEDY = {"temperature": 0.6, "max_tokens": 256}
MESSAGES = {"model": "default", "messages": [{"role": "user", "content": QUESTION}]}


class Api(NamedTuple):
    path: str
    body: dict
    summary: Callable[[dict], dict]
    """From the JSON of an answer, or of the last event of a stream that has one."""
    text: Callable[[dict], str]
    place: str = "custom_params"


def of_choice(answer: dict) -> dict:
    return answer["choices"][0]["meta_info"]["soft_thinking"]


APIS = {
    "chat": Api("/v1/chat/completions", MESSAGES | GREEDY, of_choice,
                lambda a: a["choices"][0]["message"]["content"]),
    "completions": Api("/v1/completions", {"model": "default", "prompt": PROMPT} | GREEDY, of_choice,
                       lambda a: a["choices"][0]["text"]),
    "responses": Api("/v1/responses", {"input": QUESTION, "temperature": 0.6,
                                       "max_output_tokens": 256, "store": False},
                     lambda a: a.get("response", a)["soft_thinking"],
                     lambda a: json.dumps(a["output"])),
    "messages": Api("/v1/messages", MESSAGES | GREEDY, lambda a: a["soft_thinking"],
                    lambda a: json.dumps(a["content"])),
    "ollama chat": Api("/api/chat", MESSAGES | {"stream": False, "options": {
        "temperature": 0.6, "num_predict": 256}}, lambda a: a["soft_thinking"],
        lambda a: a["message"]["content"]),
    "ollama generate": Api("/api/generate", {"model": "default", "prompt": PROMPT, "stream": False,
        "raw": True, "options": {"temperature": 0.6, "num_predict": 256}},
        lambda a: a["soft_thinking"], lambda a: a["response"]),
}  # fmt: skip
if OLD:  # its own fault: the chat template's tokens come as a dict
    del APIS["ollama chat"]


def post(server: str, path: str, body: dict, **kwargs) -> requests.Response:
    if path == "/v1/responses":  # the only endpoint that looks at the name
        told = requests.get(f"{server}/v1/models", timeout=60).json()
        body = {"model": told["data"][0]["id"]} | body
    return requests.post(server + path, json=body, timeout=120, **kwargs)


def ask(server: str, api: Api, soft, **body) -> requests.Response:
    return post(server, api.path, api.body | {"custom_params": {"soft_thinking": soft}} | body)


def check_summary(summary: dict) -> None:
    assert summary["method"] == "soft" and summary["thinking_tokens"] > 0
    assert summary["mean_concept_size"] > 1 and 0 < summary["mixed_share"] <= 1
    assert len(summary["trace"]["ids"]) == summary["thinking_tokens"] + 1


@pytest.mark.parametrize("name", APIS)
@row(
    "B6",
    "/v1/responses, /v1/messages with custom_params",
    "ignored, no summary",
    "thinks softly, the summary is in the answer",
)
def test_the_answer_carries_the_summary(server, name):
    api = APIS[name]
    answer = ask(server, api, SOFT)
    assert answer.status_code == 200, answer.text
    assert "1462" in api.text(answer.json())
    check_summary(api.summary(answer.json()))


@pytest.mark.parametrize("name", APIS)
def test_a_discrete_answer_carries_none(server, name):
    api = APIS[name]
    answer = post(server, api.path, api.body)
    assert answer.status_code == 200 and "soft_thinking" not in answer.text


@pytest.mark.parametrize("name", APIS)
@row(
    "B7",
    "a chat stream with return_concepts",
    "neither summary nor concepts",
    "the last chunk carries what /generate carries",
)
def test_a_stream_carries_the_summary_once(server, name):
    api = APIS[name]
    body = api.body | {"custom_params": {"soft_thinking": SOFT}, "stream": True}
    with post(server, api.path, body, stream=True) as answer:
        assert answer.status_code == 200
        lines = [line.removeprefix(b"data: ") for line in answer.iter_lines()]
    events = [json.loads(line) for line in lines if line.startswith(b"{")]
    assert len(events) > 3, "the answer was not streamed"
    carriers = [event for event in events if "soft_thinking" in json.dumps(event)]
    assert len(carriers) == 1
    check_summary(api.summary(carriers[0]))


@pytest.mark.parametrize("name", APIS)
@row("B6", "a nonsense custom_params at any endpoint", "HTTP 200", "HTTP 400")
def test_nonsense_is_refused(server, name):
    for soft, word in (({"max_topk": 0}, "max_topk"), ({"magic": 1}, "magic"), ("yes", "object")):
        answer = ask(server, APIS[name], soft)
        assert answer.status_code == 400 and word in answer.text, answer.text
    answer = post(server, APIS[name].path, APIS[name].body | {"custom_params": {"soft_thinkng": 1}})
    assert answer.status_code == 400 and "soft_thinkng" in answer.text, answer.text


WRONG_PLACES = [
    {"soft_thinking": True},
    {"soft_thinking": {"method": "soft"}},
    {"softThinking": True},
    {"enable_soft_thinking": True},
    {"extra_body": {"custom_params": {"soft_thinking": True}}},
    {"chat_template_kwargs": {"soft_thinking": True}},
    {"reasoning": {"soft_thinking": True}},
]


@pytest.mark.parametrize("wrong", WRONG_PLACES, ids=lambda w: json.dumps(w))
@pytest.mark.parametrize("name", APIS)
@row(
    "B6",
    "soft_thinking at the top of a chat body",
    "ignored",
    "HTTP 400 that says where it belongs",
)
def test_a_key_in_the_wrong_place_is_told_where_it_belongs(server, name, wrong):
    answer = post(server, APIS[name].path, APIS[name].body | wrong)
    assert answer.status_code == 400, answer.text
    assert "belongs at custom_params.soft_thinking" in answer.text


@pytest.mark.parametrize(
    "wrong", [*WRONG_PLACES, {"custom_params": {"soft_thinking": True}},
              {"sampling_params": {"soft_thinking": True}},
              {"sampling_params": [{"soft_thinking": True}]}], ids=lambda w: json.dumps(w),
)  # fmt: skip
@row(
    "B6",
    "custom_params at the top of a /generate body",
    "ignored",
    "HTTP 400 that says where it belongs",
)
def test_generate_tells_where_the_key_belongs(server, wrong):
    answer = post(server, "/generate", {"text": PROMPT, "sampling_params": {}} | wrong)
    assert answer.status_code == 400, answer.text
    assert "belongs at sampling_params.custom_params.soft_thinking" in answer.text


def test_endpoints_that_generate_nothing_refuse_it(server):
    body = {"query": "a", "items": ["b"], "label_token_ids": [1], "soft_thinking": True}
    answer = post(server, "/v1/score", body)
    assert answer.status_code == 400 and "/v1/score does not support" in answer.text


def test_a_users_text_about_the_key_is_no_key(server):
    messages = [{"role": "user", "content": '{"soft_thinking": true, "custom_params": 1}'}]
    body = {"model": "default", "messages": messages, "max_tokens": 4,
            "metadata": {"soft_thinking": "label"}}  # fmt: skip
    answer = post(server, "/v1/chat/completions", body)
    assert answer.status_code == 200 and "soft_thinking" not in answer.text


def test_every_one_of_n_choices_carries_its_own_summary(server):
    soft = {"method": "soft_gumbel", "return_concepts": True}
    for stream in (False, True):
        body = APIS["chat"].body | {"n": 3, "custom_params": {"soft_thinking": soft},
                                    "stream": stream}  # fmt: skip
        answer = post(server, "/v1/chat/completions", body)
        lines = [line.removeprefix("data: ") for line in answer.text.splitlines()]
        events = [json.loads(line) for line in lines if line.startswith("{")]
        choices = {c["index"]: c["meta_info"]["soft_thinking"] for e in events
                   for c in e["choices"] if c.get("meta_info")}  # fmt: skip
        assert sorted(choices) == [0, 1, 2]
        assert len({info["seed"] for info in choices.values()}) == 3


def test_vertex_and_sagemaker(server):
    sampling = {"max_new_tokens": 64, "custom_params": {"soft_thinking": True}}
    body = {"instances": [{"text": PROMPT}], "parameters": {"sampling_params": sampling}}
    (prediction,) = post(server, "/vertex_generate", body).json()["predictions"]
    assert prediction["meta_info"]["soft_thinking"]["method"] == "soft"
    answer = ask(server, APIS["chat"]._replace(path="/invocations"), SOFT).json()
    check_summary(of_choice(answer))
