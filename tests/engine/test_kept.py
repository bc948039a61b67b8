"""Traces that the server keeps (`keep`), over HTTP: handles, tenants, the next turn of a chat."""

import io
import json

import pytest
import requests

from sglang_soft.trace import Trace
from tests.engine.test_bad_traces import OPEN, generate, healthy, made, message, post

QUESTION = [{"role": "user", "content": "What is 43*34?"}]
NEXT = {"role": "user", "content": "And 44*34?"}


def kept_of(info: dict) -> dict:
    kept = info["kept"]
    assert kept["id"].startswith("trace-") and kept["bytes"] > 0
    assert kept["expires_in"] == 3600
    return kept


def traces(server: str, handle: str, method: str = "get", **query) -> requests.Response:
    address = f"{server}/soft_thinking/traces/{handle}"
    return requests.request(method, address, params=query, timeout=60)


def chat(server: str, soft: dict, messages: list, **body) -> requests.Response:
    asked = {"model": "default", "messages": messages, "max_tokens": 200, "temperature": 0.6}
    asked |= {"custom_params": {"soft_thinking": soft}} | body
    return post(server, asked, "/v1/chat/completions")


def choice(answer: requests.Response) -> dict:
    assert answer.status_code == 200, answer.text[:500]
    return answer.json()["choices"][0]


def events(answer: requests.Response) -> list[dict]:
    lines = answer.text.splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def detokenized(server: str, tokens: list[int]) -> str:
    body = {"model": "default", "tokens": tokens, "skip_special_tokens": False}
    return post(server, body, "/detokenize").json()["text"]


@pytest.fixture(scope="module")
def first(server) -> dict:
    """The first turn of a chat: its choice, with the trace, which is kept."""
    return choice(chat(server, {"keep": True, "return_concepts": True}, QUESTION))


def summary(choice: dict) -> dict:
    return choice["meta_info"]["soft_thinking"]


def test_what_is_kept_is_what_is_returned(server):
    info = generate(server, {"keep": True, "return_concepts": True}, OPEN).json()["meta_info"]
    soft = info["soft_thinking"]
    handle = kept_of(soft)["id"]
    answer = traces(server, handle)
    assert answer.status_code == 200 and answer.json() == soft["trace"]
    file = traces(server, handle, format="npz")
    assert file.headers["content-type"] == "application/octet-stream"
    assert Trace.load(io.BytesIO(file.content)).to_json() == soft["trace"]
    wrong = traces(server, handle, format="xml")
    assert wrong.status_code == 400 and "json or npz" in wrong.text


def test_without_the_trace_in_the_answer(server):
    soft = generate(server, {"keep": True}, OPEN).json()["meta_info"]["soft_thinking"]
    assert "trace" not in soft
    whole = Trace.from_json(traces(server, kept_of(soft)["id"]).json())
    assert len(whole.steps) == soft["thinking_tokens"] == 20
    assert (
        "kept" not in generate(server, {"keep": False}, OPEN).json()["meta_info"]["soft_thinking"]
    )


@pytest.mark.parametrize("method", ["soft_gumbel", "swireasoning", "coconut_tf", "cot"])
def test_every_kind_of_trace_is_kept(server, method):
    soft = {"keep": True, "return_concepts": True, "method": method, "weight_bits": 8}
    info = generate(server, soft, OPEN).json()["meta_info"]["soft_thinking"]
    assert traces(server, kept_of(info)["id"]).json() == info["trace"]


@pytest.mark.parametrize("at", ["next", "answer", "end"])
def test_a_handle_is_the_trace(server, at):
    """And is not changed by its use."""
    soft = {"keep": True, "return_concepts": True}
    info = generate(server, soft, OPEN).json()["meta_info"]["soft_thinking"]
    text = "<|im_end|>\n" if at == "end" else ""
    outs = []
    for trace in (info["trace"], info["kept"]["id"], info["kept"]["id"]):
        asked = {"trace": trace, "at": at, "return_concepts": True, "answer_temperature": 0.0}
        outs.append(generate(server, asked, text).json())
    ids = [out["output_ids"] for out in outs]
    assert ids[0] == ids[1] == ids[2]
    steps = [out["meta_info"]["soft_thinking"]["trace"]["ids"] for out in outs]
    assert steps[0] == steps[1] == steps[2]
    assert traces(server, info["kept"]["id"]).json() == info["trace"]


def test_every_sample_has_a_handle_of_its_own(server):
    soft = {"keep": True, "method": "soft_gumbel", "return_concepts": True}
    outs = generate(server, soft, OPEN, n=3).json()
    infos = [out["meta_info"]["soft_thinking"] for out in outs]
    handles = [kept_of(info)["id"] for info in infos]
    assert len(set(handles)) == 3
    found = [traces(server, handle).json() for handle in handles]
    assert found == [info["trace"] for info in infos]
    assert len({json.dumps(trace["ids"]) for trace in found}) == 3


def test_a_batch_and_a_fork_that_are_kept(server):
    soft = {"soft_thinking": {"keep": True}}
    params = {"temperature": 0.6, "max_new_tokens": 8, "custom_params": soft}
    outs = post(server, {"text": [OPEN, OPEN], "sampling_params": params}).json()
    handle, other = (kept_of(out["meta_info"]["soft_thinking"])["id"] for out in outs)
    assert handle != other
    asked = {"trace": handle, "at": "answer", "keep": True}
    forks = generate(server, asked, n=2, max_new_tokens=4).json()
    ids = {kept_of(out["meta_info"]["soft_thinking"])["id"] for out in forks}
    assert len(ids | {handle, other}) == 4


@pytest.mark.parametrize("concepts", [True, False])
def test_streams_name_the_handle_at_their_end(server, concepts):
    soft = {"keep": True, "return_concepts": concepts}
    chunks = events(generate(server, soft, OPEN, stream=True))
    infos = [chunk["meta_info"].get("soft_thinking", {}) for chunk in chunks]
    assert [("kept" in info) for info in infos] == [False] * (len(infos) - 1) + [True]
    whole = traces(server, infos[-1]["kept"]["id"]).json()
    assert len(whole["ids"]) == 20
    if concepts:
        parts = [info["trace"] for info in infos if "trace" in info]
        assert len(parts) > 2 and Trace.from_json(parts).to_json() == whole


def test_the_stream_of_a_chat(server):
    chunks = events(chat(server, {"keep": True}, QUESTION, stream=True))
    told = [c for chunk in chunks for c in chunk["choices"] if c.get("meta_info")]
    (info,) = [c["meta_info"]["soft_thinking"] for c in told]
    assert traces(server, kept_of(info)["id"]).status_code == 200


def test_dropped_is_gone(server):
    info = generate(server, {"keep": True}, OPEN).json()["meta_info"]["soft_thinking"]
    handle = info["kept"]["id"]
    answer = traces(server, handle, "delete")
    assert answer.status_code == 200 and answer.json() == {"dropped": handle}
    gone = (
        traces(server, handle), traces(server, handle, format="npz"),
        traces(server, handle, "delete"), generate(server, {"trace": handle, "at": "answer"}),
        chat(server, {"trace": handle, "at": "answer"}, QUESTION),
    )  # fmt: skip
    for answer in gone:
        assert answer.status_code == 404 and "no trace is kept under" in message(answer)


KEYS = [{"extra_key": "a"}, {"cache_salt": "a"}, {"extra_key": "a", "cache_salt": "b"}]


@pytest.mark.parametrize("owner", KEYS, ids=str)
def test_a_handle_of_somebody_else(server, owner):
    params = {"temperature": 0.6, "max_new_tokens": 8}

    def asked(soft: dict, keys: dict, text: str) -> requests.Response:
        custom = {"custom_params": {"soft_thinking": soft}}
        return post(server, {"text": text, "sampling_params": params | custom} | keys)

    before = healthy(server)
    info = asked({"keep": True}, owner, OPEN).json()["meta_info"]["soft_thinking"]
    handle = kept_of(info)["id"]
    others = [
        keys for keys in (*KEYS, {}, {"extra_key": "A"}, {"cache_salt": "b"}) if keys != owner
    ]
    for keys in others:
        refused = asked({"trace": handle, "at": "answer"}, keys, "")
        assert refused.status_code == 404 and "another extra_key" in message(refused)
        assert traces(server, handle, **keys).status_code == 404
        assert traces(server, handle, "delete", **keys).status_code == 404
        talk = chat(server, {"trace": handle, "at": "answer"}, QUESTION, **keys)
        assert talk.status_code == 404
    assert asked({"trace": handle, "at": "answer"}, owner, "").status_code == 200
    assert chat(server, {"trace": handle, "at": "answer"}, QUESTION, **owner).status_code == 200
    assert traces(server, handle, **owner).status_code == 200
    assert traces(server, handle, "delete", **owner).status_code == 200
    assert healthy(server) == before


# The next turn of a chat


def turn(first: dict, *more: dict, answer: str | None = None) -> list:
    content = first["message"]["content"] if answer is None else answer
    return [*QUESTION, {"role": "assistant", "content": content}, *(more or (NEXT,))]


@pytest.mark.parametrize("form", ["handle", "object", "base64"])
def test_a_next_turn_is_what_generate_says_to_the_same_tokens(server, first, form):
    info = summary(first)
    trace = {
        "handle": info["kept"]["id"], "object": info["trace"],
        "base64": Trace.from_json(info["trace"]).to_base64(),
    }[form]  # fmt: skip
    soft = {"trace": trace, "at": "end", "return_concepts": True, "answer_temperature": 0.0}
    second = choice(chat(server, soft, turn(first)))
    after = summary(second)["trace"]
    before = info["trace"]["prompt_ids"] + info["trace"]["output_ids"]
    assert after["prompt_ids"][: len(before)] == before, "token by token what was emitted"
    follows = after["prompt_ids"][len(before) :]
    text = detokenized(server, follows)
    assert "And 44*34?" in text and "1462" not in text and "43" not in text
    assert after["prompt_concepts"]["start"] == info["trace"]["start"]
    assert after["prompt_concepts"]["ids"] == info["trace"]["ids"][: info["thinking_tokens"]]
    sampling = {"temperature": 0.6, "max_new_tokens": 200,
                "custom_params": {"soft_thinking": soft}}  # fmt: skip
    out = post(server, {"input_ids": follows, "sampling_params": sampling}).json()
    same = made_of(out)
    assert same["prompt_ids"] == after["prompt_ids"] and same["output_ids"] == after["output_ids"]
    assert same["ids"] == after["ids"] and len(after["ids"]) > 5
    assert out["meta_info"]["cached_tokens"] > len(before) - 20, "its KV is found"


def made_of(out: dict) -> dict:
    return out["meta_info"]["soft_thinking"]["trace"]


def test_without_the_handle_a_turn_carries_text_only(server, first):
    second = choice(chat(server, {"return_concepts": True}, turn(first)))
    trace = summary(second)["trace"]
    whole = summary(first)["trace"]
    assert "prompt_concepts" not in trace
    assert len(trace["prompt_ids"]) < len(whole["prompt_ids"]) + len(whole["output_ids"])
    assert "given" not in summary(second)


def test_three_turns(server, first):
    """The second turn's trace holds the first one's thought, and the third both."""
    soft = {"at": "end", "keep": True, "return_concepts": True}
    second = choice(chat(server, soft | {"trace": summary(first)["kept"]["id"]}, turn(first)))
    third_ask = [*turn(first), {"role": "assistant", "content": second["message"]["content"]}, NEXT]
    kept = summary(second)["kept"]["id"]
    third = choice(chat(server, soft | {"trace": kept}, third_ask))
    earlier = summary(third)["trace"]["prompt_concepts"]
    one, two = summary(first), summary(second)
    assert earlier["ids"][: one["thinking_tokens"]] == one["trace"]["ids"][: one["thinking_tokens"]]
    mine = two["trace"]["ids"][: two["thinking_tokens"]]
    assert mine and earlier["ids"][-len(mine) :] == mine
    between = earlier["ids"][one["thinking_tokens"] : -len(mine)]
    assert between and all(len(row) == 1 for row in between), "plain tokens"
    assert Trace.from_json(summary(third)["trace"])


def test_the_stream_of_a_next_turn(server, first):
    soft = {"trace": summary(first)["kept"]["id"], "at": "end"}
    chunks = events(chat(server, soft, turn(first), stream=True))
    told = [c for chunk in chunks for c in chunk["choices"] if c.get("meta_info")]
    (info,) = [c["meta_info"]["soft_thinking"] for c in told]
    assert "given" in info and info["thinking_tokens"] > 0


WRONG = {
    "another answer": (lambda f: turn(f, answer="It is 7."), "the last assistant message is not"),
    "another answer, in parts": (
        lambda f: turn(f, answer=[{"type": "text", "text": "It is 7."}]),
        "the last assistant message is not",
    ),
    "another question": (
        lambda f: [{"role": "user", "content": "What is 5*5?"}, *turn(f)[1:]],
        "messages[0] is not in the trace's prompt",
    ),
    "another question, in parts": (
        lambda f: [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}, *turn(f)[1:]],
        "messages[0] is not in the trace's prompt",
    ),
    "a system prompt that was not there": (
        lambda f: [{"role": "system", "content": "Be brief."}, *turn(f)],
        "messages[0] is not in the trace's prompt",
    ),
    "no answer": (lambda f: [*QUESTION, NEXT], "must have an assistant message"),
    "no list": (lambda f: "hello", "must have an assistant message"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_conversation_that_is_not_the_traces(server, first, name):
    messages, words = WRONG[name]
    soft = {"trace": summary(first)["kept"]["id"], "at": "end"}
    answer = chat(server, soft, messages(first))
    assert answer.status_code == 400 and words in message(answer), answer.text[:500]


def test_other_endpoints_have_no_next_turn(server, first):
    soft = {"custom_params": {"soft_thinking": {"trace": summary(first)["kept"]["id"],
                                                "at": "end"}}}  # fmt: skip
    for path in ("/v1/messages", "/api/chat"):
        body = {"model": "default", "max_tokens": 8, "messages": turn(first)} | soft
        answer = post(server, body, path)
        assert answer.status_code == 400 and "needs /v1/chat/completions" in answer.text


def test_the_server_says_how_much_it_keeps(server):
    def told() -> dict:
        return requests.get(f"{server}/soft_thinking", timeout=60).json()["kept"]

    before = told()
    assert before["max_bytes"] == 512 * 2**20 and before["seconds"] == 3600
    kept = generate(server, {"keep": True}, OPEN).json()["meta_info"]["soft_thinking"]["kept"]
    after = told()
    assert after["traces"] == before["traces"] + 1
    assert after["bytes"] == before["bytes"] + kept["bytes"]
    traces(server, kept["id"], "delete")
    assert told() == before


def test_what_a_client_does_not_wait_for_is_not_kept(server):
    def count() -> int:
        told = requests.get(f"{server}/soft_thinking", timeout=60).json()["kept"]
        return told["traces"]

    before = count()
    sampling = {"temperature": 0.6, "max_new_tokens": 400, "ignore_eos": True,
                "custom_params": {"soft_thinking": {"keep": True}}}  # fmt: skip
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(
            f"{server}/generate", json={"text": OPEN, "sampling_params": sampling}, timeout=0.2
        )
    assert made(generate(server, {"return_concepts": True}, OPEN)) and count() == before
