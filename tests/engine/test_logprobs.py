"""Logprobs of a thinking step: of the token that was really emitted, under the request's own
temperature."""

import pytest

from tests.conftest import on
from tests.engine.asking import ask
from tests.engine.cases import by_name


@on("default")
@pytest.mark.parametrize(
    "name", ["soft, limit", "soft, cold stop", "soft, long prompt", "greedy thinking"]
)
def test_logprobs_name_the_emitted_tokens(engine, name):
    case = by_name(name)
    (plain,) = ask(engine, [case])
    (out,) = ask(engine, [case], return_logprob=True)
    assert out["output_ids"] == plain["output_ids"], "asking for logprobs changed the trace"
    logprobs = out["meta_info"]["output_token_logprobs"]
    assert [token for _, token, _ in logprobs] == out["output_ids"]
    assert all(value <= 0 for value, _, _ in logprobs)


@on("default")
def test_a_forced_think_end_is_as_improbable_as_it_was(engine):
    (out,) = ask(engine, [by_name("soft, limit 0")], return_logprob=True, top_logprobs_num=1)
    info = out["meta_info"]
    at = info["soft_thinking"]["thinking_tokens"]
    assert info["soft_thinking"]["thinking_finish_reason"] == "max_thinking_tokens"
    value, token, _ = info["output_token_logprobs"][at]
    best, best_token, _ = info["output_top_logprobs"][at][0]
    assert token == engine.token_id("</think>") != best_token and value < best
