"""Think-start and think-end of several tokens, given as plain text."""

from dataclasses import replace

import pytest

from tests.conftest import on
from tests.engine import inside
from tests.engine.asking import (
    compare_all,
    delimiters,
    finish_reasons,
    joined,
    observed,
    oracle_request,
    prompt_ids,
)
from tests.engine.cases import SOFT, Case, sampling_params
from tests.engine.method_cases import case
from tests.engine.setups import END
from tests.engine.test_controls import CLOSING, retracted_at
from tests.issue_table import row
from tests.oracle import compare, run
from tests.oracle.ending import overlap
from tests.oracle.trace import Trace

CASES = (
    Case("soft", "sum", SOFT),
    Case("limit", "chat", SOFT | {"max_thinking_tokens": 12}),
    Case("least limit", "tiny", SOFT | {"max_thinking_tokens": 7}),
    Case("cold stop", "long", SOFT | {"cold_stop_entropy": 1.0, "cold_stop_steps": 3}),
    Case("closing", "again", SOFT | {"max_thinking_tokens": 24} | CLOSING),
    Case("never thinks", "plain", SOFT),
    case("closing", "coconut_tf", "chat", max_thinking_tokens=30, **CLOSING),
    Case("discrete", "sum", None),
)


def biased(engine, case_: Case, bias: dict[str, float], **changes) -> tuple[Trace, dict]:
    """What the oracle says with a bias on characters, and sampling parameters that say the same."""
    ids = {engine.tokenizer.encode(text)[0]: value for text, value in bias.items()}
    request = replace(oracle_request(engine, case_), logit_bias=ids, **changes)
    trace = run(engine.hf_model, prompt_ids(engine, case_), request)
    return trace, sampling_params(case_) | {"logit_bias": {str(i): b for i, b in ids.items()}}


def ask(engine, case_: Case, sampling: dict, trace: Trace, atol: float = 1e-5) -> dict:
    (out,) = engine.generate([prompt_ids(engine, case_)], [sampling])
    compare(observed(out), trace, atol)
    return out


@on("delimiters")
@row("D23", "think-start and think-end of several tokens", "refused", "equal to the oracle")
def test_mixed_batch_equals_the_oracle(engine):
    outs = compare_all(engine, CASES)
    assert {"max_thinking_tokens", "cold_stop", "length", None} <= finish_reasons(outs)
    assert sum(out["meta_info"]["num_retractions"] for out in outs), "nothing was retracted"
    for case_, out in zip(CASES, outs, strict=True):
        if "limit" in case_.name:
            soft = out["meta_info"]["soft_thinking"]
            bound = case_.soft["max_thinking_tokens"]
            assert soft["thinking_tokens"] == bound
            assert engine.tokenizer.decode(out["output_ids"][: bound + 1]).endswith(END)


@on("delimiters")
def test_a_thought_that_the_model_opens(engine):
    opened = Case("opened", "plain", SOFT | {"max_thinking_tokens": 9}, 30)
    trace, sampling = biased(engine, opened, {"(": 60.0})
    assert (trace.first_step, trace.ended) == (8, "max_thinking_tokens")
    ask(engine, opened, sampling, trace)


@on("delimiters")
def test_a_thought_that_the_model_closes(engine):
    """Its tokens but the last one are mixtures, where the model is not sure."""
    closed = Case("closed by the model", "sum", SOFT)
    for bias in range(4, 30):
        trace, sampling = biased(engine, closed, {")": float(bias)})
        if trace.ended == "stop_token" and any(len(s.ids) > 1 for s in trace.steps[-8:]):
            break
    assert trace.ended == "stop_token"
    # The bias leads out of the clusters of tests/models/tiny.py, where rounding grows.
    ask(engine, closed, sampling, trace, atol=1e-3)


@on("delimiters")
def test_a_forced_end_completes_what_is_there(engine):
    end = delimiters(engine)["think_end"]
    for bias in range(2, 20):
        for bound in (16, 20, 24):
            soft = SOFT | {"max_thinking_tokens": bound} | CLOSING
            part = Case("part", "long", soft)
            trace, sampling = biased(engine, part, {")": float(bias)})
            forced = next((i for i, step in enumerate(trace.steps) if step.forced), 0)
            if trace.ended == "max_thinking_tokens" and overlap(trace.output_ids[:forced], end):
                assert len(trace.steps) - forced < len(end), "a closing text was put in"
                ask(engine, part, sampling, trace)
                return
    raise AssertionError("no end is forced inside a think-end")


INSIDE = {
    "start": (Case("a", "plain", SOFT | {"max_thinking_tokens": 20}, 40), {"(": 60.0}),
    "end": (Case("b", "sum", SOFT, 30), {")": 60.0}),
    "forced": (Case("c", "chat", SOFT | {"max_thinking_tokens": 14}, 40), {}),
}


@on("delimiters")
@pytest.mark.parametrize("where", INSIDE)
def test_retracted_inside_a_delimiter(engine, where):
    """While the model emits think-start or think-end, and while think-end is forced."""
    case_, bias = INSIDE[where]
    trace, sampling = biased(engine, case_, bias)
    request = {"input_ids": prompt_ids(engine, case_), "sampling_params": sampling}
    start, end = (delimiters(engine)[name] for name in ("think_start", "think_end"))
    found = set()
    for _ in range(6):
        engine.flush()
        for chunks in engine.run(inside.streams, [request] * 4):
            compare(observed(joined(chunks)), trace)
            found |= {place(trace, at, start, end) for at in retracted_at(chunks)}
        if where in found:
            return
    raise AssertionError(f"nothing was retracted there, but in {found}")


def place(trace: Trace, at: int, start: tuple[int, ...], end: tuple[int, ...]) -> str | None:
    """Where the output ended that had `at` tokens."""
    step = at - trace.first_step
    if step < 0:
        return "start" if overlap(trace.output_ids[:at], start) else None
    if step >= len(trace.steps) or not overlap(trace.output_ids[trace.first_step : at], end):
        return None
    return "forced" if trace.steps[step].forced else "end"


@on("delimiters")
def test_what_needs_delimiters_of_one_token_is_refused(engine):
    params = {
        "max_new_tokens": 4,
        "custom_params": {"soft_thinking": SOFT | {"method": "swireasoning"}},
    }
    error = engine.run(inside.error_of, input_ids=[1, 2, 3], sampling_params=params)
    assert "method=swireasoning mixes think-start and think-end, which must be one token" in error
    params["custom_params"]["soft_thinking"] = {"max_thinking_tokens": 6}
    error = engine.run(inside.error_of, input_ids=[1, 2, 3], sampling_params=params)
    assert "max_thinking_tokens is out of range (allowed: >= 7" in error
