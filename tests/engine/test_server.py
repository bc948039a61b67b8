"""The HTTP server as a user starts it: the bundled model, every endpoint, and what is refused."""

import json

import openai
import pytest
import requests

from sglang_soft import methods
from tests.engine.malformed import MALFORMED
from tests.issue_table import row

QUESTION = [{"role": "user", "content": "What is 43*34?"}]
PROMPT = "<|im_start|>user\nWhat is 43*34?<|im_end|>\n<|im_start|>assistant\n<think>\n"


@pytest.fixture(scope="module")
def client(server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server}/v1", api_key="none")


def generate(server: str, soft=True, text: str = PROMPT, **body) -> requests.Response:
    sampling = {"temperature": 0.6, "max_new_tokens": 200, "custom_params": {"soft_thinking": soft}}
    sampling |= body.pop("sampling", {})
    return requests.post(
        f"{server}/generate", json={"text": text, "sampling_params": sampling} | body, timeout=120
    )


def soft_extra(**soft) -> dict:
    return {"custom_params": {"soft_thinking": soft}}


def test_chat_thinks_and_answers(client):
    chat = client.chat.completions.create(
        model="default", messages=QUESTION, temperature=0.6, max_tokens=256,
        extra_body=soft_extra(answer_temperature=0.0) | {"return_meta_info": True},
    )  # fmt: skip
    message = chat.choices[0].message
    soft = chat.choices[0].meta_info["soft_thinking"]
    assert "1462" in message.content
    assert message.reasoning_content
    assert soft["thinking_finish_reason"] == "stop_token"
    assert chat.usage.completion_tokens == soft["thinking_tokens"] + 1 + soft["answer_tokens"]
    assert chat.usage.reasoning_tokens > 0


def test_chat_streams_reasoning_and_answer(client):
    stream = client.chat.completions.create(
        model="default",
        messages=QUESTION,
        temperature=0.6,
        max_tokens=256,
        stream=True,
        extra_body=soft_extra(),
    )
    reasoning = content = ""
    for chunk in stream:
        if chunk.choices:
            reasoning += getattr(chunk.choices[0].delta, "reasoning_content", None) or ""
            content += chunk.choices[0].delta.content or ""
    assert reasoning and "1462" in content


@pytest.mark.parametrize("key", ["soft_thinkng", "soft-thinking", "SoftThinking", "soft_thinkin"])
def test_a_misspelt_key_is_not_decoded_plainly(server, key):
    sampling = {"max_new_tokens": 4, "custom_params": {key: True}}
    answer = requests.post(
        f"{server}/generate", json={"text": PROMPT, "sampling_params": sampling}, timeout=120
    )
    assert answer.status_code == 400 and key in answer.text and "'soft_thinking'" in answer.text


def test_other_custom_params_are_left_alone(server):
    sampling = {"max_new_tokens": 4, "custom_params": {"thinking_budget": 5, "soft_cap": 1}}
    answer = requests.post(
        f"{server}/generate", json={"text": PROMPT, "sampling_params": sampling}, timeout=120
    )
    assert answer.status_code == 200 and "soft_thinking" not in answer.json()["meta_info"]


def test_completions_endpoint(client):
    out = client.completions.create(
        model="default", prompt=PROMPT, temperature=0.6, max_tokens=200, extra_body=soft_extra()
    )
    assert "</think>" in out.choices[0].text and "1462" in out.choices[0].text


def test_stream_sends_every_concept_once(server):
    whole = generate(server, {"return_concepts": True}).json()["meta_info"]["soft_thinking"]
    with requests.post(
        f"{server}/generate",
        json={
            "text": PROMPT,
            "stream": True,
            "sampling_params": {"temperature": 0.6, "max_new_tokens": 200,
                                "custom_params": {"soft_thinking": {"return_concepts": True}}},
        },
        stream=True, timeout=120,
    ) as response:  # fmt: skip
        chunks = [
            json.loads(line[6:]) for line in response.iter_lines() if line.startswith(b"data: {")
        ]
    parts = [c["meta_info"]["soft_thinking"] for c in chunks if "soft_thinking" in c["meta_info"]]
    assert len(parts) > 3, "the answer was not streamed"
    for column in ("ids", "weights", "entropy"):
        streamed = [step for part in parts for step in part.get("trace", {}).get(column, [])]
        if column == "ids":
            assert streamed == whole["trace"]["ids"]
        assert len(streamed) == whole["thinking_tokens"] + 1
    assert parts[-1]["thinking_tokens"] == whole["thinking_tokens"]


def test_concepts_are_what_the_model_was_fed(server):
    concepts = generate(server, {"return_concepts": True, "max_topk": 7}).json()["meta_info"][
        "soft_thinking"
    ]["trace"]
    for ids, weights in zip(concepts["ids"], concepts["weights"]):
        assert 1 <= len(ids) == len(weights) <= 7
        assert sum(weights) == pytest.approx(1, abs=1e-6)
        assert weights == sorted(weights, reverse=True)


def test_logprob_is_of_the_emitted_token_even_when_think_end_is_forced(server):
    out = generate(
        server, {"max_thinking_tokens": 5}, return_logprob=True, sampling={"max_new_tokens": 12}
    ).json()
    ids = [entry[1] for entry in out["meta_info"]["output_token_logprobs"]]
    assert ids == out["output_ids"]
    assert out["meta_info"]["soft_thinking"]["thinking_finish_reason"] == "max_thinking_tokens"
    assert "</think>" in out["text"]


def test_parallel_samples(server):
    outs = generate(server, {"answer_temperature": 0.0}, sampling={"n": 3}).json()
    assert len(outs) == 3
    assert len({tuple(o["output_ids"]) for o in outs}) == 1, (
        "without noise Soft Thinking is deterministic"
    )


def test_a_sampling_seed_is_accepted_and_changes_nothing_while_thinking(server):
    texts = [
        generate(server, sampling={"sampling_seed": seed}).json()["text"].split("</think>")[0]
        for seed in (1, 2)
    ]
    assert texts[0] == texts[1]


def test_grammar_binds_the_answer_and_accepts_a_forced_think_end(client):
    chat = client.chat.completions.create(
        model="default", messages=QUESTION, temperature=0.6, max_tokens=64,
        extra_body=soft_extra(max_thinking_tokens=8) | {"regex": "[0-9]{2}\\.", "return_meta_info": True},
    )  # fmt: skip
    assert (
        chat.choices[0].meta_info["soft_thinking"]["thinking_finish_reason"]
        == "max_thinking_tokens"
    )
    assert len(chat.choices[0].message.content) == 3 and chat.choices[0].message.content.endswith(
        "."
    )


@row(
    "B12",
    "/generate with a grammar and a reasoning parser",
    "the grammar bound the thought",
    "thinking is free, the grammar binds the answer",
)
def test_grammar_of_generate_binds_the_answer_only(server):
    out = generate(server, {"max_thinking_tokens": 8}, sampling={"regex": "[0-9]{2}\\."}).json()
    assert out["meta_info"]["soft_thinking"]["thinking_tokens"] == 8
    thought, answer = out["text"].split("</think>")
    assert len(answer) == 3 and answer.endswith(".") and not thought.strip().endswith("."), out[
        "text"
    ]


@pytest.mark.parametrize(
    ("start", "text", "thinks"),
    [
        ("prompt", PROMPT, True),
        ("prompt", "The tag <think> opens thoughts. What is 43*34? It is", False),
        ("now", "The tag <think> opens thoughts. What is 43*34? It is", True),
        ("now", PROMPT.removesuffix("<think>\n"), True),
        ("never", PROMPT, False),
        ("token", PROMPT, False),
    ],
)
@row("B8", "thinking_start: now, token, never", "no such key", "as asked")
def test_when_thinking_starts(server, start, text, thinks):
    soft = {"thinking_start": start, "max_thinking_tokens": 6}
    out = generate(server, soft, text, sampling={"max_new_tokens": 12, "ignore_eos": True}).json()
    info = out["meta_info"]["soft_thinking"]
    assert (info["thinking_tokens"] > 0) == thinks
    if not thinks:
        assert info["thinking_finish_reason"] is None and info["answer_tokens"] == 12


@row("B8", "a user's text, or an earlier turn, with <think>", "answered softly", "discrete")
def test_a_users_text_and_an_earlier_turn_open_no_thought(client):
    def thinking_tokens(*messages: tuple[str, str], **extra) -> int:
        chat = client.chat.completions.create(
            model="default", temperature=0.6, max_tokens=12,
            messages=[{"role": role, "content": content} for role, content in messages],
            extra_body=soft_extra(max_thinking_tokens=6) | extra,
        )  # fmt: skip
        return chat.choices[0].meta_info["soft_thinking"]["thinking_tokens"]

    user, goes_on = (
        ("user", "The tag <think> opens thoughts. What is 43*34?"),
        {"continue_final_message": True},
    )
    closed = ("assistant", "</think>The tag <think> is")
    assert thinking_tokens(user) == 6, "the template's own block"
    assert thinking_tokens(user, ("assistant", "Well"), **goes_on) == 6, "the thought goes on"
    assert thinking_tokens(user, closed, **goes_on) == 0
    history = (user, ("assistant", "I open <think> often."), ("user", "And 2*3?"))
    assert thinking_tokens(*history, ("assistant", "</think>It is"), **goes_on) == 0


@row("B11", "temperature 0", "method: soft, nothing else", "mean_concept_size 1, mixed_share 0")
def test_greedy_thinking_says_that_it_mixed_nothing(server):
    for temperature, mixes in ((0.0, False), (0.6, True)):
        soft = generate(server, sampling={"temperature": temperature}).json()["meta_info"][
            "soft_thinking"
        ]
        assert (soft["mixed_share"] > 0) == mixes == (soft["mean_concept_size"] > 1)


@row(
    "B13",
    "a seed above 2^53",
    "sent back as another number by a JavaScript client",
    "HTTP 400; drawn seeds have 53 bits",
)
def test_a_seed_that_javascript_cannot_hold_is_refused(server):
    for seed, status in ((2**53 - 1, 200), (-(2**53) + 1, 200), (2**53, 400), (-(2**60), 400)):
        response = generate(
            server, {"method": "cot"}, sampling={"sampling_seed": seed, "max_new_tokens": 4}
        )
        assert response.status_code == status, response.text
        if status == 200:
            assert response.json()["meta_info"]["soft_thinking"]["seed"] == seed
        else:
            assert "2^53 - 1" in response.text and str(seed) in response.text


def test_the_endpoint_lists_methods_parameters_and_settings(server):
    told = requests.get(f"{server}/soft_thinking", timeout=60).json()
    assert [m["method"] for m in told["methods"]] == list(methods.names())
    assert {"method", "max_topk"} <= {row["key"] for row in told["parameters"]}
    assert told["server"]["max_k"] == 32 and told["server"]["unsupported"] is None


@pytest.mark.parametrize("method", methods.names())
def test_every_method_answers(server, method):
    """On the chat endpoint's server, with defaults; whether the answer is right is a matter for
    evals."""
    out = generate(
        server, {"method": method}, sampling={"sampling_seed": 1, "max_new_tokens": 64}
    ).json()
    soft = out["meta_info"]["soft_thinking"]
    assert soft["method"] == method and soft["thinking_tokens"] > 0


def test_opting_out(server):
    assert "soft_thinking" not in generate(server, False).json()["meta_info"]


def test_bad_parameters_are_a_400_that_names_the_key(server, client):
    assert len(MALFORMED) >= 40
    for soft, key in MALFORMED:
        response = generate(server, soft)
        assert response.status_code == 400, (soft, response.text)
        assert key in response.json()["error"]["message"], (soft, response.text)
    for soft, key in MALFORMED[::8]:
        with pytest.raises(openai.BadRequestError, match=key):
            client.chat.completions.create(
                model="default",
                messages=QUESTION,
                extra_body={"custom_params": {"soft_thinking": soft}},
            )
    assert "1462" in generate(server, {"answer_temperature": 0.0}).json()["text"], (
        "the server goes on"
    )


@pytest.mark.parametrize(
    "feature",
    [{"image_data": "x.png"}, {"session_params": {"id": "s"}}],
    ids=lambda f: next(iter(f)),
)
def test_unsupported_features_are_refused_by_name(server, feature):
    response = generate(server, True, **feature)
    assert response.status_code == 400
    assert next(iter(feature)) in response.text or "multimodal" in response.text.lower()
