"""A request that goes on from a trace is what the request would have been that never stopped.

The oracle says what the whole is; the trace that comes back is one complete value, so the whole is
compared with it.
"""

import json

import torch

from sglang_soft.trace import Trace
from tests.conftest import on
from tests.engine.asking import compare_all, expected, observed, prompt_ids, retractions
from tests.engine.cases import CASES, Case, sampling_params
from tests.engine.method_cases import METHOD_CASES
from tests.engine.setups import RETRACT
from tests.engine.under_test import EngineUnderTest
from tests.oracle import compare
from tests.oracle.embed import embed_mixture, embed_tokens

EVERYWHERE = ("default", "no-overlap", "mixed-chunk", "retract", "retract-no-radix", "tp2")
STOPS = [c for c in CASES if c.name in ("soft, limit", "soft, cold stop", "soft, long prompt",
                                        "opens its own block", "soft, cold stop, long")]  # fmt: skip
METHODS = [case for case in METHOD_CASES if case.soft is not None]
BATCH = 30
"""Requests that run at once; the engines under test hold 32."""


def trace_of(out: dict) -> Trace:
    return Trace.from_json(json.loads(json.dumps(out["meta_info"]["soft_thinking"]["trace"])))


def go_on(case: Case, trace: Trace | dict | str, at: str | None = None, **soft) -> dict:
    """Sampling parameters of the case's request, from a trace on."""
    params = sampling_params(case)
    place = {} if at is None else {"at": at}
    params["custom_params"]["soft_thinking"] |= {"trace": trace, **place, **soft}
    return params


def forms(trace: Trace, at: int) -> Trace | dict | str:
    """The trace as an object, as JSON, or as the text of its file."""
    return (trace, json.loads(json.dumps(trace.to_json())), trace.to_base64())[at % 3]


def whole(out: dict) -> dict:
    """The answer as if the request had never stopped: the trace holds all of it."""
    trace = trace_of(out)
    return out | {"output_ids": trace.output_ids.tolist()}


def batches(requests: list) -> list[list]:
    return [requests[at : at + BATCH] for at in range(0, len(requests), BATCH)]


@on(*EVERYWHERE)
def test_a_cut_thought_goes_on_as_if_it_had_not_stopped(engine: EngineUnderTest):
    """Every method, at its first step, in the middle and at its last one; the trace in three
    forms; half of the requests after the cache was emptied."""
    cases = [*METHODS, *STOPS]
    outs = [out for part in batches(cases) for out in compare_all(engine, part)]
    requests = []
    for case, out in zip(cases, outs, strict=True):
        trace = trace_of(out)
        prompt, count = len(trace.prompt_ids), trace.thinking_tokens
        for steps in sorted({0, count // 2, max(0, count - 1)}):
            params = go_on(case, forms(trace, len(requests)), "next", cut=steps)
            left = case.max_new_tokens - (trace.start - prompt + steps)
            requests.append((case, params | {"max_new_tokens": left}, steps))
    cached, problems, retracted = 0, [], 0
    for at, part in enumerate(batches(requests)):
        if at % 2:
            engine.flush()
        outs = engine.generate([prompt_ids(engine, c) for c, _, _ in part], [p for _, p, _ in part])
        retracted += retractions(outs, "thinking")
        for (case, _, steps), out in zip(part, outs, strict=True):
            info = out["meta_info"]["soft_thinking"]
            assert info["given"]["steps"] == steps
            cached += out["meta_info"]["cached_tokens"]
            try:
                compare(observed(whole(out)), expected(engine, case))
                assert trace_of(out).segments == [], "the same request went on"
            except AssertionError as error:
                problems.append(f"{case.name}, cut at {steps}: {error}")
    assert not problems, "\n".join(problems)
    assert bool(cached) != bool(engine.setup.args.get("disable_radix_cache"))
    assert bool(retracted) == bool(engine.setup.env.keys() & RETRACT.keys())


def greedy_answer(engine: EngineUnderTest, trace: Trace, more: list[int], steps: int) -> list[int]:
    """What a plain loop says after the tokens and concept tokens of a trace, and `more`."""
    model = engine.hf_model
    tokens = [*trace.prompt_ids.tolist(), *trace.output_ids.tolist(), *more]
    fed = embed_tokens(model, tokens)
    assert trace.start is not None
    for step in range(trace.thinking_tokens):
        concept = trace.concept(step)
        fed[trace.start + step] = embed_mixture(
            model, concept.ids.tolist(), concept.weights.tolist(),
            None if concept.offset is None else torch.tensor(concept.offset),
        )  # fmt: skip
    found: list[int] = []
    with torch.inference_mode():
        out = model(inputs_embeds=fed[None], use_cache=True)
        while True:
            found.append(int(out.logits[0, -1].argmax()))
            if len(found) == steps:
                return found
            out = model(
                input_ids=torch.tensor([found[-1:]]), past_key_values=out.past_key_values,
                use_cache=True,
            )  # fmt: skip


@on(*EVERYWHERE)
def test_the_answer_of_a_cut_thought_and_what_follows_a_trace(engine: EngineUnderTest):
    """`at: answer` puts think-end after the thought, `at: end` the request's own tokens after
    all of the trace."""
    end, own = engine.token_id("</think>"), [40, 41, 42]
    cases = [c for c in METHODS if not c.name.startswith("selar, negative")]
    traces = [trace_of(o) for part in batches(cases) for o in compare_all(engine, part)]
    requests, wanted = [], []
    for at, (case, trace) in enumerate(zip(cases, traces, strict=True)):
        part = trace.cut(trace.thinking_tokens * 2 // 3)
        params = go_on(case, forms(trace, at), "answer", cut=len(part.steps))
        requests.append((prompt_ids(engine, case), params | {"max_new_tokens": 8}))
        wanted.append(greedy_answer(engine, part, [end], 8))
        params = go_on(case, forms(trace, at), "end", thinking_start="never")
        requests.append((own, params | {"max_new_tokens": 8}))
        wanted.append(greedy_answer(engine, trace, own, 8))
    outs = [
        out for part in batches(requests) for out in engine.generate(*map(list, zip(*part)))
    ]  # fmt: skip
    wrong = [
        f"{cases[at // 2].name}: {out['output_ids']} {tokens}"
        for at, (out, tokens) in enumerate(zip(outs, wanted, strict=True))
        if out["output_ids"] != tokens
    ]
    assert not wrong, "\n".join(wrong)
    reasons = {o["meta_info"]["soft_thinking"]["thinking_finish_reason"] for o in outs[::2]}
    assert reasons == {"request"}
    after = trace_of(outs[1])
    assert after.prompt_start == traces[0].start and after.start is None
    assert len(after.prompt_ids) == len(traces[0].prompt_ids) + len(traces[0].output_ids) + 3
