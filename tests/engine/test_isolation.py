"""Invariants 2 and 4: hard requests are as without the plugin, and KV of concept tokens is
reachable only through the same concept tokens."""

import json
import math
import os
import subprocess
import sys

import pytest

from tests.conftest import on
from tests.engine.cases import CASES, prompt_ids, sampling_params
from tests.engine.setups import SMALL

HARD = [c for c in CASES if c.soft is None]
SOFT = next(c for c in CASES if c.name == "soft, long prompt")
LOGPROBS = {"return_logprob": True, "logprob_start_len": 0, "top_logprobs_num": 3}


def logprobs(out: dict) -> list[float]:
    info = out["meta_info"]
    every = [*info["input_token_logprobs"], *info["output_token_logprobs"]]
    every += [entry for top in info["output_top_logprobs"] for entry in top]
    return [entry[0] for entry in every if entry[0] is not None]


@pytest.fixture(scope="module")
def without_plugin(engine):
    """Hard requests on an engine of its own process, with the CPU platform and without the
    plugin."""
    script = (
        "import json, sys, sglang\n"
        "if __name__ == '__main__':\n"
        "    path, args, prompts, sampling, kwargs = json.load(sys.stdin)\n"
        "    engine = sglang.Engine(model_path=path, random_seed=1, log_level='error', **args)\n"
        "    from sglang.srt.managers.schedule_batch import Req\n"
        "    assert not hasattr(Req.refresh_fill_ids, '__wrapped__'), 'the plugin is on'\n"
        "    outs = [engine.generate(input_ids=p, sampling_params=s, **kwargs) for p, s in zip(prompts, sampling)]\n"
        "    engine.shutdown()\n"
        "    print('\\n' + json.dumps(outs))\n"
    )
    prompts = [prompt_ids(engine, c) for c in HARD]
    job = [str(engine.path), SMALL, prompts, [sampling_params(c) for c in HARD], LOGPROBS]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"SGLANG_PLUGINS": "sglang_soft_cpu"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@on("default")
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside soft"])
def test_hard_requests_are_as_without_the_plugin(engine, without_plugin, beside):
    engine.flush()
    prompts, sampling = [prompt_ids(engine, c) for c in HARD], [sampling_params(c) for c in HARD]
    if beside:
        soft = [c for c in CASES if c.soft is not None]
        outs = engine.generate(
            prompts + [prompt_ids(engine, c) for c in soft],
            sampling + [sampling_params(c) for c in soft],
            **LOGPROBS,
        )[: len(HARD)]
    else:
        outs = [
            engine.engine.generate(input_ids=p, sampling_params=s, **LOGPROBS)
            for p, s in zip(prompts, sampling)
        ]
    for ours, theirs in zip(outs, without_plugin):
        assert ours["output_ids"] == theirs["output_ids"]
        assert logprobs(ours) == pytest.approx(logprobs(theirs), abs=1e-5)
        assert "soft_thinking" not in ours["meta_info"]


@on("default")
def test_sampled_hard_requests_beside_soft_ones_are_drawn(engine):
    """A greedy hard request would not show that the soft step's most probable token was put in
    place of the drawn one. So: hard tokens are the most probable one as often as their
    probabilities say."""
    hard = HARD * 4
    soft = [c for c in CASES if c.soft is not None and c.max_new_tokens >= hard[0].max_new_tokens]
    sampling = [sampling_params(c) | {"temperature": 1.0} for c in hard] + [
        sampling_params(c) for c in soft
    ]
    outs = engine.generate(
        [prompt_ids(engine, c) for c in [*hard, *soft]],
        sampling,
        return_logprob=True,
        top_logprobs_num=1,
    )
    first, expected, variance = 0, 0.0, 0.0
    for out in outs[: len(hard)]:
        for token, ((logprob, best, _),) in zip(
            out["output_ids"], out["meta_info"]["output_top_logprobs"]
        ):
            p = math.exp(logprob)
            first, expected, variance = (
                first + (token == best),
                expected + p,
                variance + p * (1 - p),
            )
    assert variance > 50, "nearly every token was certain"
    assert abs(first - expected) < 5 * math.sqrt(variance)


@on("default", "retract")
def test_hard_request_cannot_reach_the_kv_of_concept_tokens(engine):
    prompt = prompt_ids(engine, SOFT)
    engine.flush()
    (soft,) = engine.generate([prompt], [sampling_params(SOFT)])
    readable = prompt + soft["output_ids"]
    hard = {"temperature": 0.0, "max_new_tokens": 8, "ignore_eos": True}
    (reused,) = engine.generate([readable], [hard], return_logprob=True, top_logprobs_num=3)
    assert 0 < reused["meta_info"]["cached_tokens"] <= len(prompt)
    engine.flush()
    (fresh,) = engine.generate([readable], [hard], return_logprob=True, top_logprobs_num=3)
    assert fresh["meta_info"]["cached_tokens"] == 0
    assert reused["output_ids"] == fresh["output_ids"]
    output = [[e[0] for e in o["meta_info"]["output_token_logprobs"]] for o in (reused, fresh)]
    assert output[0] == pytest.approx(output[1], abs=1e-5)


@on("default")
def test_the_same_soft_request_again_reuses_its_prompt_and_repeats_itself(engine):
    prompt = prompt_ids(engine, SOFT)
    engine.flush()
    first, second = (engine.generate([prompt], [sampling_params(SOFT)])[0] for _ in range(2))
    assert second["meta_info"]["cached_tokens"] > 0
    assert second["output_ids"] == first["output_ids"]


@on("default")
def test_a_last_step_whose_concept_the_host_does_not_know_cannot_be_matched(engine):
    """A request that stops while thinking enters the radix tree before its last concept token has a
    name; under the overlap schedule the KV of that token is there already."""
    prompt = prompt_ids(engine, SOFT)
    engine.flush()
    first = engine.generate([prompt], [sampling_params(SOFT) | {"max_new_tokens": 1}])[0][
        "output_ids"
    ][0]
    engine.flush()
    (soft,) = engine.generate(
        [prompt], [sampling_params(SOFT) | {"stop_token_ids": [first], "ignore_eos": False}]
    )
    assert soft["meta_info"]["soft_thinking"]["thinking_finish_reason"] == "stop" and soft[
        "output_ids"
    ] == [first]
    (hard,) = engine.generate(
        [[*prompt, first, first]], [{"temperature": 0.0, "max_new_tokens": 2}]
    )
    assert 0 < hard["meta_info"]["cached_tokens"] <= len(prompt)
