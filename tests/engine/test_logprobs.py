"""Logprobs of a thinking step: of the token that was really emitted, under the request's own
temperature."""

import pytest

from tests.conftest import on
from tests.engine.asking import ask, expected, prompt_ids
from tests.engine.cases import by_name, sampling_params


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


@on("default")
def test_a_soft_request_that_only_asks_for_logprobs_leaves_nothing_in_the_sampler(engine):
    """SGLang preprocesses its logits outside of sampling; the next request must not get its step."""
    soft, discrete = by_name("soft, chat"), by_name("discrete, plain")
    sampling = sampling_params(soft) | {"max_new_tokens": 0}
    prompt = prompt_ids(engine, soft)
    (out,) = engine.generate([prompt], [sampling], return_logprob=True, top_logprobs_num=2)
    assert out["meta_info"]["completion_tokens"] == 0
    (after,) = ask(engine, [discrete])
    assert after["output_ids"] == expected(engine, discrete).output_ids
