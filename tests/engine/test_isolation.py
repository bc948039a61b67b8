"""Invariants 2 and 4: discrete requests are as without the plugin, and KV of concept tokens is
reachable only through the same concept tokens."""

import math

import pytest

from tests.conftest import on
from tests.engine import inside
from tests.engine.asking import ask, prompt_ids
from tests.engine.cases import CASES, by_name, sampling_params

DISCRETE = [case for case in CASES if case.soft is None]
SOFT = by_name("soft, long prompt")
LOGPROBS = {"return_logprob": True, "logprob_start_len": 0, "top_logprobs_num": 3}


def logprobs(out: dict) -> list[float]:
    info = out["meta_info"]
    every = [*info["input_token_logprobs"], *info["output_token_logprobs"]]
    every += [entry for top in info["output_top_logprobs"] for entry in top]
    return [entry[0] for entry in every if entry[0] is not None]


def alone(engine) -> list[dict]:
    engine.flush()
    return [ask(engine, [case], **LOGPROBS)[0] for case in DISCRETE]


@pytest.fixture(scope="module")
def answers_without_plugin(without_plugin) -> list[dict]:
    """To the discrete requests, each alone."""
    assert not without_plugin.run(inside.has_plugin)
    return alone(without_plugin)


@on("default")
@pytest.mark.parametrize("together", [False, True], ids=["alone", "with soft requests"])
def test_discrete_requests_are_as_without_the_plugin(engine, answers_without_plugin, together):
    assert engine.run(inside.has_plugin)
    if together:
        engine.flush()
        soft = [case for case in CASES if case.soft is not None]
        outs = ask(engine, [*DISCRETE, *soft], **LOGPROBS)[: len(DISCRETE)]
    else:
        outs = alone(engine)
    for ours, theirs in zip(outs, answers_without_plugin, strict=True):
        assert ours["output_ids"] == theirs["output_ids"]
        assert logprobs(ours) == pytest.approx(logprobs(theirs), abs=1e-5)
        assert "soft_thinking" not in ours["meta_info"]


@on("default")
def test_sampled_discrete_requests_next_to_soft_ones_are_drawn(engine):
    """A greedy discrete request would not show that the soft step's most probable token was put in
    place of the drawn one. So: discrete tokens are the most probable one as often as their
    probabilities say."""
    discrete = DISCRETE * 4
    longest = discrete[0].max_new_tokens
    soft = [c for c in CASES if c.soft is not None and c.max_new_tokens >= longest]
    sampling = [sampling_params(c) | {"temperature": 1.0} for c in discrete]
    sampling += [sampling_params(c) for c in soft]
    prompts = [prompt_ids(engine, c) for c in [*discrete, *soft]]
    outs = engine.generate(prompts, sampling, return_logprob=True, top_logprobs_num=1)
    first, expected, variance = 0, 0.0, 0.0
    for out in outs[: len(discrete)]:
        tops = out["meta_info"]["output_top_logprobs"]
        for token, ((logprob, best, _),) in zip(out["output_ids"], tops, strict=True):
            p = math.exp(logprob)
            first, expected, variance = (
                first + (token == best),
                expected + p,
                variance + p * (1 - p),
            )
    assert variance > 50, "nearly every token was certain"
    assert abs(first - expected) < 5 * math.sqrt(variance)


@on("default", "retract")
def test_a_discrete_request_cannot_reach_the_kv_of_concept_tokens(engine):
    prompt = prompt_ids(engine, SOFT)
    engine.flush()
    (soft,) = ask(engine, [SOFT])
    prompts = [prompt + soft["output_ids"]]
    sampling = [{"temperature": 0.0, "max_new_tokens": 8, "ignore_eos": True}]
    top = {"return_logprob": True, "top_logprobs_num": 3}
    (reused,) = engine.generate(prompts, sampling, **top)
    assert 0 < reused["meta_info"]["cached_tokens"] <= len(prompt)
    engine.flush()
    (fresh,) = engine.generate(prompts, sampling, **top)
    assert fresh["meta_info"]["cached_tokens"] == 0
    assert reused["output_ids"] == fresh["output_ids"]
    output = [[e[0] for e in o["meta_info"]["output_token_logprobs"]] for o in (reused, fresh)]
    assert output[0] == pytest.approx(output[1], abs=1e-5)


@on("default")
def test_the_same_soft_request_again_reuses_its_prompt_and_repeats_itself(engine):
    engine.flush()
    first, second = (ask(engine, [SOFT])[0] for _ in range(2))
    assert second["meta_info"]["cached_tokens"] > 0
    assert second["output_ids"] == first["output_ids"]


@on("default")
def test_a_last_step_whose_concept_the_host_does_not_know_cannot_be_matched(engine):
    """A request that stops while thinking enters the radix tree before its last concept token has a
    key; under the overlap schedule the KV of that token is there already."""
    prompt = prompt_ids(engine, SOFT)
    engine.flush()
    (out,) = engine.generate([prompt], [sampling_params(SOFT) | {"max_new_tokens": 1}])
    (first,) = out["output_ids"]
    engine.flush()
    stop = {"stop_token_ids": [first], "ignore_eos": False}
    everywhere = sampling_params(SOFT, thinking_stop="everywhere")
    (soft,) = engine.generate([prompt], [everywhere | stop])
    assert soft["meta_info"]["soft_thinking"]["thinking_finish_reason"] == "stop_token_id"
    assert soft["output_ids"] == [first]
    greedy = {"temperature": 0.0, "max_new_tokens": 2}
    (discrete,) = engine.generate([[*prompt, first, first]], [greedy])
    assert 0 < discrete["meta_info"]["cached_tokens"] <= len(prompt)
