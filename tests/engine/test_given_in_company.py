"""Requests that go on from a trace, where the engine does something to them: aborts, queues,
retractions, other fields of SGLang's; and traces that `Engine.generate` is given as objects."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sglang_soft.trace import Trace
from tests.conftest import on
from tests.engine import inside
from tests.engine.asking import ask, compare_all, expected, observed, prompt_ids
from tests.engine.cases import CASES, by_name
from tests.engine.setups import SMALL
from tests.engine.test_continue import go_on, trace_of, whole
from tests.oracle import compare
from tests.oracle.embed import embed_mixture, embed_tokens
from tests.releases import not_on_0_5_22

SOFT = by_name("soft, long prompt")
DISALLOWED = "sglang.srt.sampling.custom_logit_processor:DisallowedTokensLogitsProcessor"
EVERYWHERE = ("default", "no-overlap", "mixed-chunk", "retract", "retract-no-radix", "features")


@pytest.fixture
def trace(engine) -> Trace:
    (out,) = ask(engine, [SOFT])
    return trace_of(out)


def part(engine, trace: Trace, at: str = "next", cut: int | None = 20, **more) -> dict:
    """A request that goes on from the trace."""
    soft = {} if cut is None else {"cut": cut}
    params = go_on(SOFT, trace, at, **soft) | more
    return {"input_ids": prompt_ids(engine, SOFT), "sampling_params": params}


def nobody_noticed(engine) -> None:
    compare_all(engine, [case for case in CASES if case.name in ("soft", "discrete, long")])


# Objects of one's own

BROKEN = {
    "vocabulary": (lambda t: t.copy(model=t.model | {"vocab_size": 999}), "vocab_size"),
    "weights of the model": (lambda t: t.copy(model=t.model | {"embedding_rms": 9.0}), "other weights"),
    "ids": (lambda t: t.copy(output_ids=t.output_ids.astype(np.float32)), "output_ids must be"),
    "a list": (lambda t: t.copy(prompt_ids=t.prompt_ids.tolist()), "prompt_ids must be"),
    "no steps": (lambda t: t.copy(steps=None), "soft_thinking.trace"),
    "start": (lambda t: t.copy(start="5"), "soft_thinking.trace"),
    "tail": (lambda t: t.copy(tail_step=1, tail_reason="request"), "tail_reason"),
    "parameters": (lambda t: t.copy(params=t.params | {"weight_bits": 99}), "weight_bits"),
    "segments": (lambda t: t.copy(segments=[{"step": 0}]), "segments[0]"),
    "method": (lambda t: t.copy(method="magic"), "method must be one of"),
}  # fmt: skip


@on("default")
@pytest.mark.parametrize("name", BROKEN)
def test_a_trace_object_that_is_broken(engine, trace, name):
    change, word = BROKEN[name]
    bad = part(engine, change(trace.cut(20)), cut=None)
    assert word in engine.run(inside.error_of, **bad)
    fine = {"temperature": 0.0, "max_new_tokens": 4}
    batch = {
        "input_ids": [bad["input_ids"]] * 3,
        "sampling_params": [fine, bad["sampling_params"], fine],
    }
    assert word in engine.run(inside.error_of, **batch)
    nobody_noticed(engine)


@on("default")
@pytest.mark.parametrize("column", ["weights", "ids", "entropy"])
def test_a_column_that_was_written_to(engine, trace, column):
    value = {"weights": np.nan, "ids": 10**6, "entropy": -1.0}[column]
    steps = trace.steps.copy(slice(0, 20))
    getattr(steps, column)[3] = value
    bad = part(engine, replace(trace.cut(20), steps=steps), cut=None)
    assert f"{column}[3]" in engine.run(inside.error_of, **bad)
    nobody_noticed(engine)


# Aborts


@on("default")
@pytest.mark.parametrize("at", ["next", "answer", "end"])
@not_on_0_5_22("what it says of an abort in a queue cannot be changed")
def test_aborted_in_the_queue(engine, trace, at):
    request = part(engine, trace, at, max_new_tokens=300)
    out = engine.run(inside.abort_queued, 2 * SMALL["max_running_requests"], **request)
    info = out["meta_info"]["soft_thinking"]
    assert out["meta_info"]["finish_reason"]["type"] == "abort" and not out["output_ids"]
    given = Trace.from_json(info["trace"])
    assert given.prompt_steps is None if at != "end" else given.prompt_steps is not None
    assert info["given"]["steps"] == {"next": 20, "answer": 21, "end": 0}[at]
    nobody_noticed(engine)


@on("default")
def test_aborted_while_it_goes_on(engine, trace):
    request = part(engine, trace, max_new_tokens=300)
    out = engine.run(inside.abort_after_tokens, 9, False, **request)
    found = trace_of(out)
    assert len(found.steps) >= 20 + 5 and found.thinking_finish_reason == "abort"
    assert found.cut(20).ids.tolist() == trace.cut(20).ids.tolist()
    nobody_noticed(engine)


@on("default", "no-overlap")
@pytest.mark.parametrize("at", ["next", "end"])
@not_on_0_5_22("what it says of an abort in a queue cannot be changed")
def test_retracted_then_aborted(engine, trace, at):
    """SGLang prefills the fed thought a second time, if it goes on."""
    request = part(engine, trace, at, max_new_tokens=300)
    out = engine.run(inside.abort_retracted, 12, **request)
    assert out["meta_info"]["num_retractions"] == 1
    info = out["meta_info"]["soft_thinking"]  # of the last chunk of a stream
    assert info["thinking_finish_reason"] == "abort"
    assert info["thinking_tokens"] == {"next": 20, "end": 0}[at] + len(out["output_ids"])
    nobody_noticed(engine)


# Log-probabilities of what was fed


def fed_logprobs(engine, trace: Trace, more: list[int]) -> list[float]:
    """Of each token but the first, given all that was fed before it."""
    model = engine.hf_model
    tokens = [*trace.prompt_ids.tolist(), *trace.output_ids.tolist(), *more]
    fed = embed_tokens(model, tokens)
    for step in range(trace.thinking_tokens):
        concept = trace.concept(step)
        ids, weights = concept.ids.tolist(), concept.weights.tolist()
        fed[trace.start + step] = embed_mixture(model, ids, weights, None)
    with torch.inference_mode():
        logits = model(inputs_embeds=fed[None]).logits[0]
    chosen = torch.log_softmax(logits[:-1].float(), -1)
    return chosen.gather(1, torch.tensor(tokens[1:])[:, None])[:, 0].tolist()


@on(*EVERYWHERE)
@pytest.mark.parametrize("flushed", [True, False])
def test_log_probabilities_from_the_middle_of_a_fed_thought(engine, trace, flushed):
    """Of the tokens; what they follow are concept tokens."""
    own = [40, 41, 42]
    start = trace.start + 10
    wanted = fed_logprobs(engine, trace, own)
    if flushed:
        engine.flush()
    params = go_on(SOFT, trace, "end", thinking_start="never") | {"max_new_tokens": 3}
    out = engine.run(
        inside.generate, input_ids=own, sampling_params=params, return_logprob=True,
        logprob_start_len=start, top_logprobs_num=2,
    )  # fmt: skip
    found = out["meta_info"]["input_token_logprobs"]
    tokens = [*trace.prompt_ids, *trace.output_ids, *own]
    assert [token for _, token, _ in found] == [int(t) for t in tokens[start:]]
    assert found[0][0] is None
    values = [value for value, _, _ in found[1:]]
    assert values == pytest.approx(wanted[start:], abs=2e-3)
    plain = fed_logprobs(
        engine,
        replace(trace, thinking_finish_reason=None, steps=trace.steps.copy(slice(0, 0))),
        own,
    )
    apart = max(abs(a - b) for a, b in zip(values, plain[start:], strict=True))
    assert apart > 0.01, "the concept tokens do not matter"
    tops = out["meta_info"]["input_top_logprobs"]
    assert len(tops) == len(found) and all(len(top) == 2 for top in tops[1:])


# Next to other fields


@on("features")
def test_what_a_logit_processor_forbids_is_not_fed_from_there_on(engine, trace):
    token = int(trace.ids[20][1])
    request = part(engine, trace)
    custom = request["sampling_params"]["custom_params"] | {"token_ids": [token]}
    request["sampling_params"] |= {"custom_params": custom, "max_new_tokens": 12}
    fields = request | {"custom_logit_processor": DISALLOWED}
    out = engine.run(inside.generate_request, **fields)
    found = trace_of(out)
    assert found.ids[:20].tolist() == trace.ids[:20].tolist()
    used = [i for step in range(20, len(found.steps)) for i in found.concept(step).ids.tolist()]
    assert used and token not in used


@on("features")
def test_hidden_states_of_a_fed_thought(engine, trace):
    request = part(engine, trace, max_new_tokens=6)
    engine.flush()
    out = engine.run(inside.generate_request, **request, return_hidden_states=True)
    states = out["meta_info"]["hidden_states"]
    fed = out["meta_info"]["prompt_tokens"]
    assert len(states[0]) == fed == trace.start + 20 and len(states) >= 6
    last = torch.tensor(states[0][-1])
    logits = engine.hf_model.get_output_embeddings().weight.float() @ last
    assert int(logits.argmax()) == int(trace.ids[20][0])


@on("features")
def test_one_of_higher_priority_preempts_fed_thoughts(engine, trace):
    count = engine.setup.args["max_running_requests"]
    # The last of them is read when the first has been running for a while.
    low = [part(engine, trace, max_new_tokens=200) | {"priority": 0} for _ in range(count)]
    high = part(engine, trace, max_new_tokens=28) | {"priority": 100}
    engine.flush()
    chunks, *outs, last = engine.run(inside.preempted, low, high, tokens=80)
    wanted = expected(engine, SOFT)
    compare(observed(whole(last)), wanted)
    for out in outs:
        assert whole(out)["output_ids"][: len(wanted.output_ids)] == wanted.output_ids
    counts = [sum(o["meta_info"]["soft_thinking"]["retractions"].values()) for o in outs]
    first = chunks[-1]["meta_info"]["soft_thinking"]["retractions"]
    assert sum(counts) + sum(first.values()) > 0, "nothing was preempted"


@on("default", "retract")
def test_the_cache_makes_room_between_calls(engine, trace):
    """What was fed is evicted by others, and fed again."""
    wanted = expected(engine, SOFT)
    request = part(engine, trace, max_new_tokens=28)
    for at in range(3):
        out = engine.run(inside.generate, **request)
        compare(observed(whole(out)), wanted)
        fill = [[int(i) for i in np.random.default_rng(at * 40 + n).integers(5, 90, 400)]
                for n in range(24)]  # fmt: skip
        engine.generate(fill, {"temperature": 0.0, "max_new_tokens": 1})
    nobody_noticed(engine)
