"""Stopping rules over HTTP: what a server says of them, what it refuses, and that it goes on."""

import pytest
import requests

from sglang_soft import stopping
from sglang_soft.trace import Trace

PROMPT = "<|im_start|>user\nWhat is 43*34?<|im_end|>\n<|im_start|>assistant\n<think>\n"


def post(server: str, stop, **soft) -> requests.Response:
    soft = {"answer_temperature": 0.0, "return_concepts": True, "stop": stop} | soft
    params = {"temperature": 0.6, "max_new_tokens": 200, "custom_params": {"soft_thinking": soft}}
    body = {"text": PROMPT, "sampling_params": params}
    return requests.post(f"{server}/generate", json=body, timeout=120)


def thought(server: str, stop, **soft) -> dict:
    answer = post(server, stop, **soft)
    assert answer.status_code == 200, answer.text
    return answer.json()["meta_info"]["soft_thinking"]


def test_rules_of_the_bundled_model(server):
    """It writes its steps with a semicolon between them: clauses, and no sentences."""
    whole = thought(server, None)
    assert whole["thinking_finish_reason"] == "stop_token"
    clause = thought(server, {"rule": "rcpd", "at": "clause", "rank": 2**24})
    assert clause["thinking_finish_reason"] == "stop_rule"
    tokens = clause["trace"]["output_ids"]
    assert 0 < clause["thinking_tokens"] < whole["thinking_tokens"]
    assert (
        tokens[: clause["thinking_tokens"]]
        == whole["trace"]["output_ids"][: clause["thinking_tokens"]]
    )
    boosted = thought(server, {"rule": "think_end_boost", "boost": 0.6})
    assert boosted["thinking_finish_reason"] == "stop_token"
    assert boosted["thinking_tokens"] < whole["thinking_tokens"]
    assert thought(server, {"rule": "budget", "tokens": 9})["thinking_tokens"] == 9
    assert thought(server, {"rule": "leash", "max_tokens": 30})["thinking_tokens"] == 29


def test_a_trace_goes_on_with_its_rule_or_another_one(server):
    first = thought(server, {"rule": "leash", "max_tokens": 30})
    trace = Trace.from_json(first["trace"]).cut(20).to_json()
    again = thought(server, None, trace=trace)
    assert again["thinking_tokens"] == 29 and again["trace"]["params"]["stop"]["rule"] == "leash"
    other = thought(server, {"rule": "budget", "tokens": 25}, trace=trace)
    assert other["thinking_tokens"] == 25
    assert [s["params"]["stop"]["rule"] for s in other["trace"]["segments"]] == ["leash", "budget"]


BAD = [
    (5, "soft_thinking.stop must be null or an object"),
    ({"rule": "x" * 500}, "soft_thinking.stop.rule must be one of cold_stop"),
    ({"rule": {"rule": "rcpd"}}, "soft_thinking.stop.rule must be one of cold_stop"),
    ({"rule": "rcpd", "rank": 1e30}, "soft_thinking.stop.rank must be an int"),
    ({"rule": "thinkbrake", "margin": [1]}, "soft_thinking.stop.margin must be a float"),
    ({"rule": "leash", "votes": 17}, "soft_thinking.stop.votes is out of range (allowed: [1, 16])"),
    ({"rule": "budget"}, "soft_thinking.stop.tokens is required"),
]


@pytest.mark.parametrize(("stop", "words"), BAD, ids=[str(stop)[:30] for stop, _ in BAD])
def test_a_bad_rule_is_a_400_and_the_server_goes_on(server, stop, words):
    answer = post(server, stop)
    assert answer.status_code == 400 and words in answer.text, answer.text
    assert thought(server, {"rule": "budget", "tokens": 3})["thinking_tokens"] == 3


def test_two_rules_are_a_400(server):
    answer = post(server, {"rule": "rcpd"}, cold_stop_entropy=0.1)
    assert answer.status_code == 400
    assert "cold_stop_entropy" in answer.text and "soft_thinking.stop" in answer.text


@pytest.mark.parametrize("stop", [{"rule": "magic"}, {"rule": "rcpd", "rank": "x"}, [1], "leash"])
def test_a_bad_rule_in_a_trace_is_a_400(server, stop):
    trace = thought(server, {"rule": "leash", "max_tokens": 30})["trace"]
    trace = Trace.from_json(trace).cut(10).to_json()
    trace["params"]["stop"] = stop
    answer = post(server, None, trace=trace)
    assert answer.status_code == 400 and "stop" in answer.text, answer.text
    # What made it may be anything, where the request says how it goes on.
    trace["segments"] = [{"step": 0, "method": "soft", "seed": None, "params": {"stop": stop}}]
    trace["params"]["stop"] = None
    answer = post(server, {"rule": "budget", "tokens": 12}, trace=trace)
    assert answer.status_code == 200, answer.text


def test_what_the_server_offers(server):
    offered = requests.get(f"{server}/soft_thinking", timeout=30).json()
    assert [r["rule"] for r in offered["stop_rules"]] == list(stopping.names())
    (leash,) = (r for r in offered["stop_rules"] if r["rule"] == "leash")
    assert {p["key"] for p in leash["parameters"]} >= {"window", "warm_up", "saturation"}
    rules = [d for d in offered["schema"]["$defs"].values() if "rule" in d["properties"]]
    assert len(rules) >= len(stopping.names())
