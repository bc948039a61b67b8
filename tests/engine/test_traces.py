"""Invariant 3: a trace is what the oracle says, whatever SGLang does to the request on the way."""

import asyncio
from dataclasses import replace

import pytest

from tests.conftest import on
from tests.engine.cases import (
    CASES,
    expected,
    observed,
    oracle_request,
    prompt_ids,
    sampling_params,
)
from tests.engine.setups import SETUPS
from tests.models import tiny
from tests.oracle import compare, run

MATRIX = ("default", "no-overlap", "mixed-chunk", "retract", "retract-no-radix", "retract-no-overlap", "tp2",
          "llama", "qwen2", "gemma", "moe")  # fmt: skip
RETRACTING = tuple(name for name in MATRIX if SETUPS[name].retracts)
BY_NAME = {c.name: c for c in CASES}
WHILE = {
    "thinking": [
        "soft",
        "soft, long prompt",
        "soft, chat",
        "soft, wide and unfiltered",
        "soft, short",
    ],
    "answering": ["soft, bound", "soft, bound 0", "soft, cold stop at once"],
}
"""Requests of which SGLang has to retract some in that phase: it retracts the shortest output
first."""


def compare_all(engine, cases) -> list[dict]:
    """Run the cases as one batch; every one has to be as if it were alone. Returns `meta_info` of
    each."""
    engine.flush()
    outs = engine.generate(
        [prompt_ids(engine, c) for c in cases], [sampling_params(c) for c in cases]
    )
    problems = []
    for case, out in zip(cases, outs):
        try:
            compare(observed(out), expected(engine, case))
        except AssertionError as error:
            problems.append(f"{case.name}: {error}")
    assert not problems, "\n".join(problems)
    return [out["meta_info"] for out in outs]


def joined(parts: list[dict]) -> dict[str, list]:
    """The concepts of a whole stream, column by column, from those of its chunks."""
    return {
        column: [step for part in parts for step in part.get(column, [])]
        for column in ("ids", "weights", "entropy")
    }


@on(*MATRIX)
def test_mixed_batch_equals_the_oracle(engine):
    """Soft, cold stop, greedy, bound and hard requests together."""
    infos = compare_all(engine, CASES)
    ended = {
        info["soft_thinking"]["thinking_finish_reason"] for info in infos if "soft_thinking" in info
    }
    assert {"cold_stop", "max_thinking_tokens", "length", None} <= ended
    if engine.setup.family not in tiny.NEVER_OPENS:
        opened = infos[CASES.index(BY_NAME["opens its own block"])]["soft_thinking"]
        assert opened["thinking_tokens"] > 0, "no thinking started behind a think-start token"
    if engine.setup.retracts:
        assert sum(info["num_retractions"] for info in infos) > 0, "nothing was retracted"


@on(*RETRACTING)
@pytest.mark.parametrize("phase", WHILE)
def test_retracted(engine, phase):
    infos = compare_all(engine, [BY_NAME[name] for name in WHILE[phase]])
    assert sum(i["soft_thinking"]["retractions"][phase] for i in infos) > 0, (
        f"nothing was retracted while {phase}"
    )


@on("default", "retract")
@pytest.mark.parametrize("name", ["soft", "soft, cold stop", "greedy thinking"])
def test_alone(engine, name):
    compare_all(engine, [BY_NAME[name]])


@on("default")
def test_streamed(engine):
    """A stream gives the same tokens, and every concept once."""
    case = BY_NAME["soft, chat"]
    prompt, params = prompt_ids(engine, case), sampling_params(case)
    chunks = list(engine.engine.generate(input_ids=prompt, sampling_params=params, stream=True))
    assert len(chunks) > 2
    last = chunks[-1]
    parts = [c["meta_info"].get("soft_thinking", {}).get("trace", {}) for c in chunks]
    last["meta_info"]["soft_thinking"]["trace"] = joined(parts)
    compare(observed(last), expected(engine, case))


ADDITIVE = {"frequency_penalty": 0.4, "presence_penalty": 0.2}
REPETITION = {"repetition_penalty": 1.2}


@on("default", "no-overlap")
def test_penalties_act_on_the_readable_tokens(engine):
    """A soft request is penalised as a hard one is; under the overlap schedule SGLang's penalties
    lag one token.

    Only the overlap schedule fixes the order in which SGLang applies penalties (additive ones
    first). Without it the order is that of a set of classes, which changes from one start to the
    next: there the repetition penalty, which does not commute with the others, is asked for alone.
    """
    penalties = [ADDITIVE, REPETITION]
    if engine.setup.overlap:
        penalties.append(ADDITIVE | REPETITION)
    for chosen in penalties:
        for case in (BY_NAME["soft, chat"], BY_NAME["hard, long"]):
            history = "overlap" if engine.setup.overlap else "output"
            request = replace(oracle_request(engine, case), penalty_history=history, **chosen)
            trace = run(engine.hf_model, prompt_ids(engine, case), request)
            assert trace.output_ids != expected(engine, case).output_ids, (
                "the penalties change nothing"
            )
            (out,) = engine.generate([prompt_ids(engine, case)], [sampling_params(case) | chosen])
            compare(observed(out), trace)


@on("retract", "retract-no-overlap")
@pytest.mark.parametrize(
    "names",
    [("hard", "hard, plain", "hard, long"), ("soft, chat", "soft", "soft, long prompt")],
    ids=["hard", "soft"],
)
def test_penalties_are_counted_anew_after_a_retraction(engine, names):
    """What SGLang does to hard requests, and soft ones inherit. It retracts the last of the batch
    over and over."""

    async def stream(case) -> tuple[dict, list[int]]:
        """(last chunk, output steps computed by a re-prefill)"""
        chunks = await engine.engine.async_generate(
            input_ids=prompt_ids(engine, case),
            sampling_params=sampling_params(case) | ADDITIVE,
            stream=True,
        )
        seen, retractions, at, parts = 0, 0, [], []
        async for last in chunks:
            parts.append(last["meta_info"].get("soft_thinking", {}).get("trace", {}))
            if last["meta_info"]["num_retractions"] > retractions:
                retractions += 1
                at.append(seen)
            seen = len(last["output_ids"])
        assert retractions == last["meta_info"]["num_retractions"], "two retractions in one chunk"
        if case.soft is not None:
            last["meta_info"]["soft_thinking"]["trace"] = joined(parts)
        return last, at

    async def together() -> list[tuple[dict, list[int]]]:
        return await asyncio.gather(*(stream(BY_NAME[name]) for name in names))

    engine.flush()
    outs = engine.engine.loop.run_until_complete(together())
    assert outs[-1][1], "nothing was retracted"
    for name, (out, at) in zip(names, outs):
        # Under the overlap schedule each re-prefill of one request also disturbs the counts of the
        # others.
        if at or not engine.setup.overlap:
            case = BY_NAME[name]
            history = "overlap" if engine.setup.overlap else "output"
            request = replace(oracle_request(engine, case), penalty_history=history, **ADDITIVE)
            trace = run(
                engine.hf_model, prompt_ids(engine, case), replace(request, retracted_at=at)
            )
            compare(observed(out), trace)
            counted_on = run(engine.hf_model, prompt_ids(engine, case), request)
            assert not at or trace.output_ids != counted_on.output_ids, (
                "counting on gives the same tokens"
            )
