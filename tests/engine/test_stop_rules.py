"""Every stopping rule on the engine, held against its oracle: with several methods in one batch,
and where a request is retracted, cut and continued, or has more to say before its thought ends."""

from dataclasses import replace

import numpy as np
import pytest

from sglang_soft import stopping
from sglang_soft.trace import Trace
from sglang_soft.verify import verify
from sglang_soft.verify.reference_hf import HuggingFace
from tests.conftest import on
from tests.engine import inside
from tests.engine.asking import compare_all, expected, observed, prompt_ids, retractions
from tests.engine.cases import SOFT, Case, sampling_params
from tests.engine.method_cases import case
from tests.engine.setups import SMALL
from tests.engine.stop_cases import (
    LEASH,
    METHODS,
    NEIGHBOURS,
    RCPD,
    RULES,
    STOP_CASES,
    WITH_STATE,
    reason_of,
    rule_of,
)
from tests.engine.test_continue import go_on, trace_of, whole
from tests.issue_table import row
from tests.oracle import compare

EVERYWHERE = ("default", "no-overlap", "mixed-chunk", "retract", "retract-no-radix", "tp2")


def reasons(outs: list[dict]) -> list[str]:
    return [out["meta_info"]["soft_thinking"]["thinking_finish_reason"] for out in outs]


@on(*EVERYWHERE)
@row(
    "D26",
    "stop: {rule: ...}",
    "no such key; Cold Stop was the only rule",
    "any rule with any method, in one batch, each equal to its independent port",
)
def test_every_rule_with_every_method_in_one_batch(engine):
    """With discrete requests next to them. Every request is ended by its rule."""
    assert {rule_of(c) for c in STOP_CASES} == set(stopping.names())
    assert {c.soft["method"] for c in STOP_CASES} == set(METHODS)
    batch = [*STOP_CASES, *NEIGHBOURS]
    assert len(batch) <= SMALL["max_running_requests"]
    outs = compare_all(engine, batch)
    ended = reasons(outs[: len(STOP_CASES)])
    wrong = [(c.name, r) for c, r in zip(STOP_CASES, ended) if r != reason_of(c)]
    assert not wrong, wrong
    if engine.setup.retracts:  # of so many requests others may be the ones
        few = [compare_all(engine, [c for c in STOP_CASES if c.soft["method"] == m])
               for m in METHODS]  # fmt: skip
        retracted = [retractions(outs, "thinking") for outs in few]
        assert all(retracted), f"a method's were not retracted while thinking: {retracted}"


@on("default")
def test_without_its_rule_a_request_thinks_on(engine):
    """So the rules above ended the thoughts. The boost is seen in an earlier end of its own."""
    for case_ in STOP_CASES:
        bare = replace(case_, name=f"{case_.name}, bare", soft=case_.soft | {"stop": None})
        alone, ruled = expected(engine, bare), expected(engine, case_)
        assert alone.thinking_tokens > ruled.thinking_tokens, case_.name


@on("retract", "retract-no-radix", "retract-no-overlap", "tp2")
def test_a_rules_state_survives_a_retraction(engine):
    outs = compare_all(engine, [c for c in WITH_STATE for _ in range(3)])
    assert retractions(outs, "thinking") > 0, "nothing was retracted while thinking"


@on("default", "retract")
def test_a_cut_thought_goes_on_with_its_rule(engine):
    """From traces that are cut in the middle and before their last step, ranks and entropies that
    came earlier still count."""
    requests, cases = [], [*WITH_STATE, *(c for c in STOP_CASES if "boost" in c.name)]
    for case_, out in zip(cases, compare_all(engine, cases), strict=True):
        trace = trace_of(out)
        for steps in sorted({trace.thinking_tokens // 2, trace.thinking_tokens - 1}):
            left = case_.max_new_tokens - (trace.start - len(trace.prompt_ids) + steps)
            params = go_on(case_, trace.to_json(), "next", cut=steps)
            # The trace says which rule it was.
            del params["custom_params"]["soft_thinking"]["stop"]
            requests.append((case_, params | {"max_new_tokens": left}))
    outs = engine.generate([prompt_ids(engine, c) for c, _ in requests], [p for _, p in requests])
    for (case_, _), out in zip(requests, outs, strict=True):
        compare(observed(whole(out)), expected(engine, case_))
        assert trace_of(out).segments == [], "the same request went on"
        assert out["meta_info"]["soft_thinking"]["thinking_finish_reason"] == reason_of(case_)


@on("default")
def test_another_rule_takes_over(engine):
    """With its first state: what the old rule knew means nothing to it. The trace has both."""
    case_ = next(c for c in STOP_CASES if c.name == "soft, leash")
    longer = replace(case_, name="long leash", soft=case_.soft | {
        "stop": LEASH | {"min_tokens": 1000, "max_tokens": 1000}})  # fmt: skip
    (out,) = compare_all(engine, [longer])
    trace = trace_of(out).cut(12)
    assert len(trace.method_state) == len(stopping.get("leash").state)
    given = {"rule": "rcpd", "at": "every", "rank": 1000}
    (out,) = engine.generate(
        [prompt_ids(engine, case_)], [go_on(case_, trace.to_json(), "next", stop=given)]
    )
    found = trace_of(out)
    assert found.thinking_finish_reason == "stop_rule" and found.thinking_tokens == 12
    assert [s["params"]["stop"]["rule"] for s in found.segments] == ["leash", "rcpd"]
    assert len(found.method_state) == len(stopping.get("rcpd").state)
    assert found.cut(6).method_state.tolist() == trace.cut(6).method_state.tolist()
    assert verify(found, HuggingFace(engine.path)).sound


@on("default")
def test_the_fork_s_keys_are_the_rule_cold_stop(engine):
    new = next(c for c in STOP_CASES if c.name == "soft, cold_stop")
    old = replace(new, soft={k: v for k, v in new.soft.items() if k != "stop"})
    fork = {"early_stopping_entropy_threshold": 1.0, "early_stopping_length_threshold": 3}
    prompts = [prompt_ids(engine, new)] * 2
    outs = engine.generate(prompts, [sampling_params(new), sampling_params(old, **fork)])
    traces = [trace_of(out) for out in outs]
    assert traces[0].params == traces[1].params and traces[0].low_entropy_steps == 3
    assert traces[0].params["stop"] == RULES["cold_stop"]
    assert traces[0].params["cold_stop_entropy"] == 1.0, "clients of older traces read it"
    assert traces[0].output_ids.tolist() == traces[1].output_ids.tolist()


# --- what a forced end has to emit

CLOSING = (
    case("closing", "soft", "long", 3, 60, stop=RCPD, closing_text="\n\nTime is up.\n"),
    case("closing", "cot", "chat", 3, 60, stop=LEASH, closing_text="x" * 15),
    case("closing, both", "soft", "sum", 3, stop=LEASH, max_thinking_tokens=14, closing_text="so."),
    Case("closing, at once", "sum", SOFT | {"stop": LEASH | {"max_tokens": 1}}),
)


@on("default", "retract", "mixed-chunk")
def test_a_closing_text_is_put_before_a_rules_end(engine):
    outs = compare_all(engine, CLOSING)
    assert reasons(outs) == ["stop_rule"] * len(CLOSING)
    for case_, out in zip(CLOSING, outs, strict=True):
        text = engine.tokenizer.decode(out["output_ids"])
        assert case_.soft.get("closing_text", "") + "</think>" in text, case_.name


LONG_END = (
    Case("long end, thinkbrake", "sum", SOFT | {"stop": RULES["thinkbrake"] | {"at": "every"}}),
    Case("long end, rcpd", "long", SOFT | {"stop": RCPD | {"rank": 40}}),
    Case("long end, leash", "sum", SOFT | {"stop": LEASH}),
    # A boost of the one token that think-end is made of begins it, and goes on with it.
    Case("long end, boost", "sum", SOFT | {"stop": {"rule": "think_end_boost", "boost": 1.2}}),
)


@on("delimiters")
def test_rules_read_the_next_token_of_a_think_end_of_several(engine):
    outs = compare_all(engine, LONG_END)
    found = reasons(outs)
    assert found[0] == found[2] == "stop_rule" and found[3] == "stop_token", found


@on("no-overlap")
def test_the_first_reason_in_order_counts(engine):
    """A rule before Cold Stop and the bound, in the step in which all three would end it."""
    (out,) = compare_all(
        engine,
        [case("order", "soft", "sum", 3, stop=LEASH | {"max_tokens": 9}, max_thinking_tokens=8)],
    )
    assert reasons([out]) == ["stop_rule"]
    assert out["meta_info"]["soft_thinking"]["thinking_tokens"] == 8


# --- what reads traces


@on("default", "retract")
def test_verify_knows_the_rule(engine):
    reference = HuggingFace(engine.path)
    for case_, out in zip(STOP_CASES, compare_all(engine, STOP_CASES), strict=True):
        trace = trace_of(out)
        assert verify(trace, reference).sound, case_.name
        if rule_of(case_) == "think_end_boost":
            unaware = trace.copy(params=trace.params | {"stop": None})
            assert not verify(unaware, reference).sound, "the boost was not seen"


@on("default")
def test_a_boost_is_in_the_log_probabilities_of_a_roll_out(engine):
    from sglang_soft.rollout import log_probs

    roll = {"return_rollout": True, "return_concepts": False}
    cases = [replace(c, name=f"{c.name}, roll-out", soft=c.soft | roll) for c in STOP_CASES
             if "boost" in c.name]  # fmt: skip
    outs = compare_all(engine, cases)
    for case_, out in zip(cases, outs, strict=True):
        trace = Trace.from_json(out["meta_info"]["soft_thinking"]["trace"])
        ours = log_probs(engine.hf_model, trace).detach().numpy()
        theirs = trace.steps.extra["logprobs"][:, 0]
        assert np.abs(ours - theirs).max() < 1e-3, case_.name
        bare = trace.copy(params=trace.params | {"stop": None})
        if trace.seed is not None:
            off = np.abs(log_probs(engine.hf_model, bare).detach().numpy() - theirs).max()
            assert off > 1e-3, f"{case_.name}: no step drew what the boost changed"


@on("default")
@pytest.mark.parametrize("rule", list(RULES))
def test_the_answers_of_neighbours_do_not_change(engine, rule):
    """Logits of rows without the rule are the same bits: discrete requests and soft ones."""
    own = [c for c in STOP_CASES if c.name.endswith(f", {rule}")]
    neighbours = [
        *NEIGHBOURS,
        case("neighbour", "soft", "chat"),
        case("neighbour", "cot", "sum", 5),
    ]
    compare_all(engine, [*own, *neighbours])


@on("default")
def test_what_is_wrong_is_an_error_and_the_engine_goes_on(engine):
    prompt = prompt_ids(engine, NEIGHBOURS[0])
    for stop, words in (
        (
            {"rule": "rcpd", "rank": 0},
            "soft_thinking.stop.rank is out of range (allowed: [1, 2^24])",
        ),
        ({"rule": "budget", "tokens": 1, "at": "every"}, "unknown key 'at' of rule budget"),
    ):
        params = {"max_new_tokens": 4, "custom_params": {"soft_thinking": {"stop": stop}}}
        error = engine.run(inside.error_of, input_ids=prompt, sampling_params=params)
        assert words in error, error
    closing = {"stop": {"rule": "budget", "tokens": 2}, "closing_text": "abc"}
    params = {"max_new_tokens": 4, "custom_params": {"soft_thinking": closing}}
    error = engine.run(inside.error_of, input_ids=prompt, sampling_params=params)
    assert "soft_thinking.stop.tokens is out of range (allowed: >= 3" in error, error
