"""One thought, many answers: in one request, in one batch, and in separate requests.

The thought's KV is computed once, and each answer is what its request would say alone.
"""

import json
import re

from sglang_soft.trace import Trace
from tests.conftest import on
from tests.engine import inside
from tests.engine.asking import ask, prompt_ids, retractions
from tests.engine.cases import SOFT, Case
from tests.engine.test_continue import forms, go_on, greedy_answer, trace_of
from tests.engine.under_test import EngineUnderTest

EVERYWHERE = ("default", "no-overlap", "retract", "tp2")
ANSWERS, TOKENS, STEPS = 16, 12, 24
BOUND = {"max_thinking_tokens": STEPS, "max_answer_tokens": 0}
SURE = Case("fork", "long", SOFT | BOUND)
NOISY = Case("fork, noisy", "chat", SOFT | BOUND | {"method": "soft_gumbel"}, seed=11)
OWN = {"max_answer_tokens": None}
"""What an answer does not take from its thought's request."""


def think(engine: EngineUnderTest, case: Case = SURE) -> Trace:
    """The thought alone, and nothing else in the cache."""
    engine.flush()
    (out,) = ask(engine, [case])
    soft = out["meta_info"]["soft_thinking"]
    assert (soft["thinking_tokens"], soft["answer_tokens"]) == (STEPS, 0)
    assert out["output_ids"][STEPS:] == [engine.token_id("</think>")]
    return trace_of(out)


def answer(case: Case, trace: Trace | dict | str, **sampling) -> dict:
    """Sampling parameters of an answer."""
    return go_on(case, trace, "answer", **OWN) | {"max_new_tokens": TOKENS} | sampling


def computed(out: dict) -> int:
    """Prompt tokens that were not in the prefix cache."""
    return out["meta_info"]["prompt_tokens"] - out["meta_info"]["cached_tokens"]


def check_computed_once(outs: list[dict], trace: Trace, cold: bool) -> None:
    """All of the prompt once, or (warm) never; of every other request its last token, which SGLang
    always computes."""
    size = len(trace.prompt_ids) + len(trace.output_ids)
    assert {out["meta_info"]["prompt_tokens"] for out in outs} == {size}
    assert sorted(map(computed, outs)) == [1] * (len(outs) - 1) + [size if cold else 1]


def check_retracted(engine: EngineUnderTest, outs: list[dict]) -> None:
    assert bool(retractions(outs, "answering")) == engine.setup.retracts


@on(*EVERYWHERE)
def test_n_answers_of_one_request(engine: EngineUnderTest):
    trace, prompt = think(engine), prompt_ids(engine, SURE)
    said = greedy_answer(engine, trace, [], TOKENS)
    for cold in (False, True):
        if cold:
            engine.flush()  # SGLang prefills once before it samples
        outs = engine.generate([prompt], [answer(SURE, trace, n=ANSWERS)])
        assert [out["output_ids"] for out in outs] == [said] * ANSWERS
        check_computed_once(outs, trace, cold=False)
        check_retracted(engine, outs)


@on(*EVERYWHERE)
def test_each_of_n_answers_is_drawn_anew_and_each_of_n_thoughts_has_its_seed(engine):
    trace, prompt = think(engine, NOISY), prompt_ids(engine, NOISY)
    drawn = engine.generate([prompt], [answer(NOISY, trace, n=ANSWERS, temperature=1.0)])
    assert len({tuple(out["output_ids"]) for out in drawn}) > 1
    half = go_on(NOISY, trace, "next", cut=STEPS // 2) | {"max_new_tokens": STEPS}
    outs = engine.generate([prompt], [half | {"n": ANSWERS}])
    soft = [out["meta_info"]["soft_thinking"] for out in outs]
    assert len({info["seed"] for info in soft}) == ANSWERS
    weights = {json.dumps(info["trace"]["weights"][STEPS // 2 :]) for info in soft}
    assert len(weights) == ANSWERS, "each went on with noise of its own"
    assert len({json.dumps(info["trace"]["weights"][: STEPS // 2]) for info in soft}) == 1
    again = half | {"sampling_seed": soft[3]["seed"]}
    (alone,) = engine.generate([prompt], [again])
    assert alone["output_ids"] == outs[3]["output_ids"]


@on(*EVERYWHERE)
def test_one_batch_whose_answers_differ_in_everything(engine: EngineUnderTest):
    trace, prompt = think(engine), prompt_ids(engine, SURE)
    said = greedy_answer(engine, trace, [], TOKENS)
    at = next(i for i in range(2, TOKENS) if said[i] not in said[:i])
    own: list[dict] = [
        {}, {"max_new_tokens": 3}, {"stop_token_ids": [said[at]], "ignore_eos": False},
        {"regex": "[0-9]{4}"}, {"json_schema": '{"type": "boolean"}'},
        *({"temperature": 1.0, "sampling_seed": seed} for seed in range(11)),
    ]  # fmt: skip
    assert len(own) == ANSWERS
    members = [answer(SURE, forms(trace, i), **more) for i, more in enumerate(own)]
    for cold in (False, True):
        if cold:
            engine.flush()
        outs = engine.generate([prompt] * ANSWERS, members)
        check_computed_once(outs, trace, cold)
        check_retracted(engine, outs)
        tokens = [out["output_ids"] for out in outs]
        assert tokens[:3] == [said, said[:3], said[: at + 1]]
        assert re.fullmatch("[0-9]{4}", outs[3]["text"]) and outs[4]["text"] in ("true", "false")
        assert len({tuple(t) for t in tokens[5:]}) > 1, "drawn"


@on(*EVERYWHERE)
def test_separate_requests_one_after_another_and_at_once(engine: EngineUnderTest):
    trace, prompt = think(engine), prompt_ids(engine, SURE)
    said = greedy_answer(engine, trace, [], TOKENS)
    engine.flush()
    members = [answer(SURE, forms(trace, i)) for i in range(ANSWERS)]
    outs = [engine.generate([prompt], [params])[0] for params in members[:4]]
    assert [out["output_ids"] for out in outs] == [said] * 4
    check_computed_once(outs, trace, cold=True)
    assert computed(outs[0]) > 1, "the first one"
    requests = [{"input_ids": prompt, "sampling_params": params} for params in members]
    for cold in (False, True):
        if cold:
            engine.flush()
        outs = [chunks[-1] for chunks in engine.run(inside.streams, requests)]
        assert [out["output_ids"] for out in outs] == [said] * ANSWERS
        check_computed_once(outs, trace, cold)


@on("default", "no-overlap")
def test_other_thoughts_and_tenants_compute_their_own(engine: EngineUnderTest):
    """Two thoughts in one batch: each is computed once, and by every tenant."""
    first, second = think(engine), think(engine, NOISY)
    engine.flush()
    order = [(SURE, first), (NOISY, second)] * 3 + [(SURE, first)] * 2
    outs = engine.run(
        inside.generate_request,
        input_ids=[prompt_ids(engine, case) for case, _ in order],
        sampling_params=[answer(case, trace) for case, trace in order],
        extra_key=["one"] * 6 + ["another"] * 2,
    )
    for case, trace, part in ((SURE, first, outs[:6:2]), (NOISY, second, outs[1:6:2])):
        said = greedy_answer(engine, trace, [], TOKENS)
        assert [out["output_ids"] for out in part] == [said] * 3, case.name
    assert [computed(out) for out in outs[2:6]] == [1] * 4
    assert computed(outs[6]) == outs[6]["meta_info"]["prompt_tokens"] and computed(outs[7]) == 1
