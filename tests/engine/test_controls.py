"""What ends a thought, an answer and a request: end of sequence, stop conditions, closing texts,
the budget of the answer."""

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
)
from tests.engine.cases import SOFT, Case, by_name, sampling_params
from tests.engine.method_cases import OTHERS, SWI, case
from tests.issue_table import row
from tests.oracle import compare, run
from tests.oracle.trace import Trace

WITH_EOS = {"ignore_eos": False}
LIMIT = SOFT | {"max_thinking_tokens": 12}
CLOSING = {"closing_text": "\n\nTime is up.\n"}
LONG = "x" * 40


def asked(engine, case: Case, trace: Trace, **sampling) -> dict:
    """The answer to `case`, held against `trace`."""
    (out,) = engine.generate(
        [prompt_ids(engine, case)], [sampling_params(case) | WITH_EOS | sampling]
    )
    compare(observed(out), trace)
    return out


def oracle(engine, case: Case, **changes) -> Trace:
    eos = frozenset([engine.tokenizer.eos_token_id])
    request = replace(oracle_request(engine, case), **({"eos_ids": eos} | changes))
    return run(engine.hf_model, prompt_ids(engine, case), request)


# --- end of sequence


def eos_in_the_thought(engine) -> tuple[Case, dict[int, float]]:
    """A request, and a bias with which its thought emits an end of sequence, not at once."""
    eos = engine.tokenizer.eos_token_id
    for name in ("soft", "soft, long prompt", "soft, chat"):
        for bias in range(1, 12):
            trace = oracle(engine, by_name(name), logit_bias={eos: float(bias)})
            if trace.ended == "eos" and trace.thinking_tokens > 1:
                return by_name(name), {eos: float(bias)}
    raise AssertionError("no thought emits an end of sequence")


@on("default")
@row(
    "D21",
    "the end-of-sequence token in a thought",
    "the request ended without an answer",
    "it becomes think-end; thinking_eos: stop ends the request",
)
def test_an_end_of_sequence_in_the_thought(engine):
    case, bias = eos_in_the_thought(engine)
    given = {"logit_bias": {str(i): b for i, b in bias.items()}}
    out = asked(engine, case, oracle(engine, case, logit_bias=bias), **given)
    assert out["meta_info"]["soft_thinking"]["thinking_finish_reason"] == "eos"
    stops = replace(case, soft=case.soft | {"thinking_eos": "stop"})
    out = asked(engine, stops, oracle(engine, stops, logit_bias=bias), **given)
    assert out["meta_info"]["soft_thinking"]["thinking_finish_reason"] == "stop_eos"
    trace = oracle(engine, case, logit_bias=bias, eos_ids=frozenset())
    assert engine.tokenizer.eos_token_id in trace.output_ids[: trace.thinking_tokens]
    asked(engine, case, trace, ignore_eos=True, **given)


# --- stop tokens, stop strings, stop regexes


def said_twice(engine, case: Case) -> tuple[int, str, int]:
    """A token that the thought emits and the answer, not at once: its id, its text and where it is
    in the answer."""
    trace = expected(engine, case)
    begin = trace.first_step + len(trace.steps)
    thought, answer = trace.output_ids[: begin - 1], trace.output_ids[begin:]
    for at, token in enumerate(answer):
        text = engine.tokenizer.decode([token])
        if at and token in thought and token not in answer[:at] and text.isascii() and text.strip():
            return token, text, begin + at
    raise AssertionError("thought and answer have no token in common")


@on("default", "no-overlap")
@pytest.mark.parametrize("how", ["stop_token_ids", "stop", "stop_regex"])
@row(
    "D21",
    "a stop string that the thought contains",
    "the thought was cut",
    "it acts in the answer; thinking_stop: everywhere is SGLang's way",
)
def test_stop_conditions_act_in_the_answer_or_everywhere(engine, how):
    case = by_name("soft, limit")
    token, text, at = said_twice(engine, case)
    value = {"stop_token_ids": [token], "stop": [text], "stop_regex": f"[{text}]"}[how]
    whole, stop = expected(engine, case), frozenset([token])
    (out,) = engine.generate(
        [prompt_ids(engine, case)], [sampling_params(case) | WITH_EOS | {how: value}]
    )
    assert out["output_ids"] == whole.output_ids[: at + 1]
    assert out["meta_info"]["finish_reason"]["type"] == "stop"
    assert out["meta_info"]["soft_thinking"]["thinking_finish_reason"] == "max_thinking_tokens"
    cut = at + 1 if how == "stop_regex" else at  # SGLang does not cut what a regex matched
    assert out["text"] == engine.tokenizer.decode(whole.output_ids[:cut])
    assert text in out["text"], "the thought lost its own"

    everywhere = replace(case, soft=case.soft | {"thinking_stop": "everywhere"})
    reason = {"stop_token_ids": "stop_token_id", "stop": "stop_string"}.get(how, how)
    trace = replace(oracle(engine, everywhere, stop_ids=stop), ended=reason)
    assert len(trace.output_ids) < whole.thinking_tokens
    asked(engine, everywhere, trace, **{how: value})


@on("default")
def test_a_match_lies_wholly_in_the_answer(engine):
    """A stop string of the thought's last token and the answer's first ones is none; and a regex
    that matches nothing at all does not end a thought."""
    case = by_name("soft, limit")
    whole = expected(engine, case)
    begin = whole.first_step + len(whole.steps)
    straddling = engine.tokenizer.decode(whole.output_ids[begin - 2 : begin + 1])
    assert straddling in engine.tokenizer.decode(whole.output_ids)
    asked(engine, case, whole, stop=[straddling], ignore_eos=True)
    (out,) = engine.generate(
        [prompt_ids(engine, case)], [sampling_params(case) | {"stop_regex": "y*"}]
    )
    assert out["output_ids"] == whole.output_ids[: begin + 1]


@on("default")
def test_a_stop_string_of_a_stream(engine):
    """SGLang holds a stream back while its end may be the beginning of a stop string."""
    case = by_name("soft, limit")
    _, text, at = said_twice(engine, case)
    params = sampling_params(case) | WITH_EOS | {"stop": [text]}
    chunks = engine.stream(prompt_ids(engine, case), params)
    assert len(chunks) > 10
    assert joined(chunks)["output_ids"] == expected(engine, case).output_ids[: at + 1]


# --- the budget of the answer

BUDGETS = (
    Case("budget", "sum", LIMIT | {"max_answer_tokens": 3}),
    Case("budget of one", "chat", LIMIT | {"max_answer_tokens": 1}),
    Case("budget that is not reached", "long", LIMIT | {"max_answer_tokens": 100}),
    Case("budget, never thinks", "plain", SOFT | {"max_answer_tokens": 5}),
    Case("budget, opens its own block", "opens", LIMIT | {"max_answer_tokens": 40}, 80),
    Case("no answer", "sum", LIMIT | {"max_answer_tokens": 0}),
)


@on("default", "no-overlap", "retract")
@row("D22", "max_answer_tokens", "no such key", "a budget of the answer alone")
def test_the_answer_has_a_budget(engine):
    outs = compare_all(engine, BUDGETS)
    lengths = [out["meta_info"]["soft_thinking"]["answer_tokens"] for out in outs]
    assert lengths[:2] == [3, 1] and lengths[3] > 5, "without a thought nothing is bounded"
    assert lengths[-1] == 0, "the request ends with think-end"
    assert {out["meta_info"]["finish_reason"]["type"] for out in outs} == {"length"}


# --- closing texts

FORCED = ("max_thinking_tokens", "cold_stop", "method")
CLOSINGS = (
    Case("closing, limit", "sum", LIMIT | {"max_thinking_tokens": 20} | CLOSING),
    Case("closing, all of the bound", "chat", LIMIT | {"closing_text": "stop now!!!!"}),
    Case("closing, cold stop", "digits", SOFT | CLOSING
         | {"cold_stop_entropy": 1.0, "cold_stop_steps": 3}),
    Case("closing, long", "long", LIMIT | {"max_thinking_tokens": 45, "closing_text": LONG}, 80),
    Case("closing, cut", "sum", LIMIT | {"max_thinking_tokens": 60, "closing_text": LONG}, 30),
    Case("no closing", "sum", SOFT),
    case("closing", "coconut_tf", "chat", max_thinking_tokens=20, **CLOSING),
    case("closing", "soft_noise", "sum", 16, noise_scale=0.3, max_thinking_tokens=20, **CLOSING),
    case("closing", "multiplex", "sum", 9, multiplex_weighting="mean",
         multiplex_token="first", max_thinking_tokens=18, **CLOSING),
    case("closing", "swireasoning", "long", 15, **SWI, **OTHERS, swi_max_switches=2, **CLOSING),
)  # fmt: skip


@on("default", "retract", "mixed-chunk")
@row(
    "D22",
    "closing_text with Cold Stop or max_thinking_tokens",
    "no such key",
    "its tokens are put in before think-end",
)
def test_a_closing_text_is_put_before_a_forced_end(engine):
    outs = compare_all(engine, CLOSINGS)
    assert {*FORCED, "length"} <= finish_reasons(outs)
    for case_, out in zip(CLOSINGS, outs, strict=True):
        soft = out["meta_info"]["soft_thinking"]
        if "closing_text" in case_.soft and soft["thinking_finish_reason"] in FORCED:
            trace = soft["trace"]
            end = trace["start"] + len(trace["ids"]) - len(prompt_ids(engine, case_))
            text = engine.tokenizer.decode(out["output_ids"][:end])
            assert text.endswith(case_.soft["closing_text"] + "</think>"), case_.name
        bound = case_.soft.get("max_thinking_tokens")
        assert bound is None or soft["thinking_tokens"] <= bound


def retracted_at(chunks: list[dict]) -> list[int]:
    """Output lengths at which the request was retracted."""
    counts = [chunk["meta_info"]["num_retractions"] for chunk in chunks]
    lengths = [0, *(len(chunk["output_ids"]) for chunk in chunks)]
    return [lengths[i] for i in range(1, len(counts)) if counts[i] > counts[i - 1]]


@on("retract")
def test_retracted_while_closing(engine):
    names = ("closing, long", "closing, cut", "closing, limit")
    cases = [next(case for case in CLOSINGS if case.name == name) for name in names]
    engine.flush()
    streams = engine.run(
        inside.streams,
        [
            {"input_ids": prompt_ids(engine, c), "sampling_params": sampling_params(c)}
            for c in cases
        ],
    )
    hits = 0
    for case_, chunks in zip(cases, streams, strict=True):
        trace = expected(engine, case_)
        compare(observed(joined(chunks)), trace)
        forced = [i for i, step in enumerate(trace.steps) if step.forced]
        hits += sum(forced[0] < at <= forced[-1] for at in retracted_at(chunks))
    assert hits, "nothing was retracted while a closing text was emitted"


@on("default")
def test_what_does_not_fit_is_refused(engine):
    prompt = prompt_ids(engine, by_name("soft"))
    for soft, words in (
        ({"closing_text": "x" * 65}, "at most 64 tokens; got 65"),
        ({"closing_text": "a</think>"}, "must not contain think-end"),
        ({"closing_text": "abc", "max_thinking_tokens": 2}, "max_thinking_tokens is out of range"),
        ({"max_answer_tokens": -1}, "max_answer_tokens is out of range"),
    ):
        params = {"max_new_tokens": 4, "custom_params": {"soft_thinking": soft}}
        error = engine.run(inside.error_of, input_ids=prompt, sampling_params=params)
        assert words in error, error
