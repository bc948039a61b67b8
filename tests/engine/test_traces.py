"""Invariant 3: a trace is what the oracle says, whatever SGLang does to the request on the way."""

from dataclasses import replace

import pytest

from tests.conftest import on
from tests.engine import inside
from tests.engine.asking import (
    compare_all,
    expected,
    finish_reasons,
    joined,
    observed,
    oracle_request,
    prompt_ids,
    retractions,
)
from tests.engine.cases import CASES, by_name, sampling_params
from tests.engine.setups import SETUPS, USUAL
from tests.models import tiny
from tests.oracle import compare, run

RETRACTING = tuple(name for name in USUAL if SETUPS[name].retracts)
WHILE = {
    "thinking": [
        "soft",
        "soft, long prompt",
        "soft, chat",
        "soft, wide and unfiltered",
        "soft, short",
    ],
    "answering": ["soft, limit", "soft, limit 0", "soft, cold stop at once"],
}
"""Requests of which SGLang has to retract some in that phase: it retracts the shortest output
first."""


@on(*USUAL)
def test_mixed_batch_equals_the_oracle(engine):
    """Soft, Cold Stop, greedy, bounded and discrete requests together."""
    outs = compare_all(engine, CASES)
    assert {"cold_stop", "max_thinking_tokens", "length", None} <= finish_reasons(outs)
    if engine.setup.family not in tiny.NEVER_OPENS:
        opened = outs[CASES.index(by_name("opens its own block"))]["meta_info"]["soft_thinking"]
        assert opened["thinking_tokens"] > 0, "no thinking started after a think-start token"
    if engine.setup.chunk:
        assert max(len(prompt_ids(engine, case)) for case in CASES) > 2 * engine.setup.chunk
    if engine.setup.retracts:
        assert sum(out["meta_info"]["num_retractions"] for out in outs), "nothing was retracted"


@on(*RETRACTING)
@pytest.mark.parametrize("phase", WHILE)
def test_retracted(engine, phase):
    outs = compare_all(engine, [by_name(name) for name in WHILE[phase]])
    assert retractions(outs, phase) > 0, f"nothing was retracted while {phase}"


@on("default", "retract")
@pytest.mark.parametrize("name", ["soft", "soft, cold stop", "greedy thinking"])
def test_alone(engine, name):
    compare_all(engine, [by_name(name)])


@on("default", "no-overlap")
def test_one_soft_request_among_many_discrete_ones(engine):
    discrete = [case for case in CASES if case.soft is None]
    compare_all(engine, [*discrete * 4, by_name("soft, long prompt"), *discrete * 3])


@on("default", "no-overlap")
def test_streamed(engine):
    """A stream gives the same tokens, and every concept once."""
    case = by_name("soft, chat")
    chunks = engine.stream(prompt_ids(engine, case), sampling_params(case))
    assert len(chunks) > 2
    compare(observed(joined(chunks)), expected(engine, case))


ADDITIVE = {"frequency_penalty": 0.4, "presence_penalty": 0.2}
REPETITION = {"repetition_penalty": 1.2}


@on("default", "no-overlap")
def test_penalties_act_on_the_output_tokens(engine):
    """A soft request is penalised as a discrete one is; under the overlap schedule SGLang's
    penalties lag one token.

    Only the overlap schedule fixes the order in which SGLang applies penalties (additive ones
    first). Without it the order is that of a set of classes, which changes from one start to the
    next: there the repetition penalty, which does not commute with the others, is asked for alone.
    """
    penalties = [ADDITIVE, REPETITION]
    if engine.setup.overlap:
        penalties.append(ADDITIVE | REPETITION)
    for chosen in penalties:
        for case in (by_name("soft, chat"), by_name("discrete, long")):
            history = "overlap" if engine.setup.overlap else "output"
            request = replace(oracle_request(engine, case), penalty_history=history, **chosen)
            trace = run(engine.hf_model, prompt_ids(engine, case), request)
            assert trace.output_ids != expected(engine, case).output_ids, (
                "the penalties change nothing"
            )
            (out,) = engine.generate([prompt_ids(engine, case)], [sampling_params(case) | chosen])
            compare(observed(out), trace)


def retracted_at(chunks: list[dict]) -> list[int]:
    """Output steps that a re-prefill computed."""
    seen, at = 0, []
    for chunk in chunks:
        if chunk["meta_info"]["num_retractions"] > len(at):
            at.append(seen)
        seen = len(chunk["output_ids"])
    assert len(at) == chunks[-1]["meta_info"]["num_retractions"], "two retractions in one chunk"
    return at


@on("retract", "retract-no-overlap")
@pytest.mark.parametrize(
    "names",
    [
        ("discrete", "discrete, plain", "discrete, long"),
        ("soft, chat", "soft", "soft, long prompt"),
    ],
    ids=["discrete", "soft"],
)
def test_penalties_are_counted_anew_after_a_retraction(engine, names):
    """What SGLang does to discrete requests, and soft ones inherit. It retracts the last of the
    batch over and over."""
    cases = [by_name(name) for name in names]
    requests = [
        {
            "input_ids": prompt_ids(engine, case),
            "sampling_params": sampling_params(case) | ADDITIVE,
        }
        for case in cases
    ]
    engine.flush()
    streams = engine.run(inside.streams, requests)
    assert retracted_at(streams[-1]), "nothing was retracted"
    for case, chunks in zip(cases, streams, strict=True):
        at = retracted_at(chunks)
        # Under the overlap schedule each re-prefill of one request also disturbs the counts of the
        # others.
        if not at and engine.setup.overlap:
            continue
        history = "overlap" if engine.setup.overlap else "output"
        request = replace(oracle_request(engine, case), penalty_history=history, **ADDITIVE)
        trace = run(engine.hf_model, prompt_ids(engine, case), replace(request, retracted_at=at))
        compare(observed(joined(chunks)), trace)
        counted_on = run(engine.hf_model, prompt_ids(engine, case), request)
        assert not at or trace.output_ids != counted_on.output_ids, (
            "counting on gives the same tokens"
        )
