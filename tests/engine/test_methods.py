"""Every thinking method on the engine, held against its oracle; all of them in one batch, and each
alone."""

from dataclasses import replace
from itertools import combinations

import pytest

from tests.conftest import on
from tests.engine.asking import (
    ask,
    compare_all,
    expected,
    finish_reasons,
    joined,
    observed,
    oracle_request,
    prompt_ids,
    retractions,
)
from tests.engine.cases import sampling_params
from tests.engine.method_cases import METHOD_CASES
from tests.engine.setups import SETUPS, SMALL, USUAL
from tests.issue_table import row
from tests.oracle import compare, run

BY_NAME = {c.name: c for c in METHOD_CASES}
_SELDOM = ("cot, cold stop", "thinkrouter, both ways", "selar, negative weights")
DRAWING = [
    c
    for c in METHOD_CASES
    if c.seed is not None and "greedy" not in c.name and c.name not in _SELDOM
]
"""Those that draw often enough for another seed to give another trace."""


def concepts(engine, name: str, **params) -> dict:
    case = BY_NAME[name]
    (out,) = engine.generate([prompt_ids(engine, case)], [sampling_params(case) | params])
    return out["meta_info"]["soft_thinking"]


OF_ONE_FAMILY = tuple(name for name in USUAL if SETUPS[name].family == "qwen3")


@on(*OF_ONE_FAMILY)
@row(
    "D24",
    "swireasoning, selar, multiplex at their defaults",
    "another output token, first step, C-th switch, class of tokens or weighting than the authors'",
    "as the authors' code; each choice is a parameter",
)
def test_all_methods_in_one_batch_equal_their_oracles(engine):
    assert len(METHOD_CASES) <= SMALL["max_running_requests"]
    outs = compare_all(engine, METHOD_CASES)
    assert {"cold_stop", "max_thinking_tokens", "length", "method"} <= finish_reasons(outs)
    if engine.setup.retracts:
        assert retractions(outs, "thinking") > 0, "nothing was retracted while thinking"


def alike(one: dict, other: dict) -> bool:
    """The same trace, but for the rounding that a radix hit changes."""
    a, b = one["trace"], other["trace"]
    weights = [[w for step in x["weights"] for w in step] for x in (a, b)]
    return a["ids"] == b["ids"] and weights[0] == pytest.approx(weights[1], abs=1e-5)


FED_OFFSETS = ("soft_noise", "coconut_tf", "latent_mas", "later")
OFFSETS = [c for c in METHOD_CASES if c.name.startswith(FED_OFFSETS)]
STATE = [c for c in METHOD_CASES if c.name.startswith(("swireasoning", "later"))]


@on("retract", "retract-no-radix", "retract-no-overlap", "tp2")
@pytest.mark.parametrize("cases", [OFFSETS, STATE], ids=["offsets", "state"])
def test_what_is_no_mixture_survives_a_retraction(engine, cases):
    """Embedding offsets are replayed, and the state of a switching method is restored."""
    outs = compare_all(engine, [c for c in cases for _ in range(3)])
    assert retractions(outs, "thinking") > 0, "nothing was retracted while thinking"


@pytest.mark.full
@on("default")
def test_each_method_alone(engine):
    for case in METHOD_CASES:
        compare_all(engine, [case])


@on("default")
def test_branches_are_taken(engine):
    """The cases above go through both arms of every method that has two."""
    for name in ("thinkrouter, both ways", "selar, both ways"):
        sizes = {len(ids) for ids in concepts(engine, name)["trace"]["ids"]}
        assert 1 in sizes and max(sizes) > 1, name
    weights = concepts(engine, "selar, negative weights")["trace"]["weights"]
    assert any(min(w) < 0 for w in weights)
    weights = concepts(engine, "multiplex, mean")["trace"]["weights"]
    assert any(len(w) == 2 for w in weights), "no token was drawn twice"
    switching = concepts(engine, "swireasoning, switches")["trace"]
    start, end = engine.token_id("<think>"), engine.token_id("</think>")
    for marker in (start, end):
        blended = [
            w
            for ids, w in zip(switching["ids"], switching["weights"])
            if marker in ids and len(ids) > 1
        ]
        assert blended, f"no switch blended {marker} in"
    for case in METHOD_CASES:
        if case.name.endswith("math tokens"):
            asked = replace(oracle_request(engine, case), math_ids=frozenset())
            mixed = run(engine.hf_model, prompt_ids(engine, case), asked)
            assert mixed.steps != expected(engine, case).steps, f"{case.name}: none was drawn"
    for gate in ({"swi_latent_above": 0.0}, {"swi_explicit_below": None}):
        gates = BY_NAME["swireasoning, gates of LEAD"]
        asked = replace(oracle_request(engine, gates), **gate)
        other = run(engine.hf_model, prompt_ids(engine, gates), asked)
        assert other.steps != expected(engine, gates).steps, f"{gate}: decided nothing"
    for name, latent in (("later, its tokens", 9), ("later, unsure", 7)):
        sizes = [len(ids) for ids in concepts(engine, name)["trace"]["ids"]]
        assert sizes == [0] * latent + [1] * (len(sizes) - latent), name


@on("default", "no-overlap", "tp2")
def test_later_leaves_at_a_token_of_its_class(engine):
    """The most probable token is an end of turn, once the hidden states have led there; what is
    drawn there is another one."""
    case, bias = BY_NAME["later, its tokens"], {engine.token_id("<|im_end|>"): 3.0}
    case = replace(case, seed=22)
    asked = replace(oracle_request(engine, case), logit_bias=bias)
    trace = run(engine.hf_model, prompt_ids(engine, case), asked)
    assert [s.offset is not None for s in trace.steps[:4]] == [True, True, True, False]
    params = sampling_params(case) | {"logit_bias": {str(i): b for i, b in bias.items()}}
    (out,) = engine.generate([prompt_ids(engine, case)], [params])
    compare(observed(out), trace)


@on("default")
def test_seeds(engine):
    """A seed fixes the trace, and another one changes it; without one a random seed is taken, and
    returned."""

    def batch(change: int) -> list[dict]:
        engine.flush()
        sampling = [sampling_params(c) | {"sampling_seed": c.seed + change} for c in DRAWING]
        outs = engine.generate([prompt_ids(engine, c) for c in DRAWING], sampling)
        return [out["meta_info"]["soft_thinking"] for out in outs]

    for case, same, again, other in zip(DRAWING, batch(0), batch(0), batch(1), strict=True):
        assert same["seed"] == again["seed"] == case.seed and other["seed"] == case.seed + 1
        assert alike(same, again) and not alike(same, other), case.name
    unseeded = concepts(engine, "cot, plain", sampling_seed=None)
    assert alike(unseeded, concepts(engine, "cot, plain", sampling_seed=unseeded["seed"]))
    assert not alike(unseeded, concepts(engine, "cot, plain", sampling_seed=None))


@on("default")
def test_parallel_samples_differ_and_each_can_be_repeated_by_its_seed(engine):
    case = BY_NAME["soft_gumbel, plain"]
    params = sampling_params(case) | {"n": 3}
    runs = [engine.generate(prompt_ids(engine, case), params) for _ in range(2)]
    soft = [[out["meta_info"]["soft_thinking"] for out in outs] for outs in runs]
    assert len({info["seed"] for info in soft[0]}) == 3
    for first, again in zip(*soft):
        assert first["seed"] == again["seed"] and alike(first, again), (
            "n > 1 with a seed is not reproducible"
        )
        assert alike(first, concepts(engine, case.name, sampling_seed=first["seed"]))
    assert not any(alike(a, b) for a, b in combinations(soft[0], 2))


@on("default")
@pytest.mark.parametrize(
    "name", ["soft_noise, plain", "coconut_tf, plain", "selar, negative weights"]
)
def test_a_discrete_request_cannot_reach_the_kv_of_other_inputs(engine, name):
    prompt = prompt_ids(engine, BY_NAME[name])
    discrete = continued(engine, name)
    assert 0 < discrete["meta_info"]["cached_tokens"] <= len(prompt)


@on("default")
def test_kv_of_a_discrete_step_is_the_tokens_own(engine):
    """One token of weight 1 is that token: whoever sends it finds its KV, and gets what the request
    itself got."""
    discrete = continued(engine, "cot, plain")
    assert discrete["meta_info"]["cached_tokens"] >= discrete["meta_info"]["prompt_tokens"] - 2


def continued(engine, name: str) -> dict:
    """The answer to a discrete request whose prompt is a soft request with its output tokens."""
    case = BY_NAME[name]
    engine.flush()
    (soft,) = ask(engine, [case])
    prompt = prompt_ids(engine, case) + soft["output_ids"]
    return engine.generate([prompt], [{"temperature": 0.0, "max_new_tokens": 2}])[0]


@on("default")
def test_streamed_methods(engine):
    """Concepts without ids (a hidden state was fed) keep their place in a stream."""
    case = BY_NAME["coconut_tf, limit"]
    chunks = engine.stream(prompt_ids(engine, case), sampling_params(case))
    compare(observed(joined(chunks)), expected(engine, case))
