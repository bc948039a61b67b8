"""A request that is aborted answers with the same fields as one that is not, whatever it was doing."""

import pytest

from tests.conftest import on
from tests.engine import inside
from tests.engine.asking import ask, prompt_ids
from tests.engine.cases import by_name, sampling_params
from tests.engine.setups import SMALL
from tests.issue_table import row
from tests.releases import not_on_0_5_22

SOFT = by_name("soft, long prompt")
ANSWERING = by_name("soft, limit")
LONG = {"max_new_tokens": 400, "ignore_eos": True}


def request(engine, case=SOFT, **soft) -> dict:
    return {
        "input_ids": prompt_ids(engine, case),
        "sampling_params": sampling_params(case, **soft) | LONG,
    }


@pytest.fixture
def fields(engine) -> set[str]:
    """Of a request that was not aborted."""
    (whole,) = ask(engine, [ANSWERING])
    return _fields(whole)


def _fields(out: dict) -> set[str]:
    info = out["meta_info"]["soft_thinking"]
    return set(out["meta_info"]["soft_thinking"]) | {f"trace.{key}" for key in info["trace"]}


def check(out: dict, fields: set[str], reason: str = "abort") -> dict:
    assert "soft_thinking" in out["meta_info"], "the summary is missing"
    info = out["meta_info"]["soft_thinking"]
    assert out["meta_info"]["finish_reason"]["type"] == "abort"
    assert _fields(out) == fields
    assert info["thinking_finish_reason"] == reason
    assert len(info["trace"]["prompt_ids"]) == out["meta_info"]["prompt_tokens"]
    return info


@on("default")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@row("B14", "an abort while thinking", "the summary was missing", "the same fields as any answer")
def test_while_thinking(engine, fields, stream):
    out = engine.run(inside.abort_after_tokens, 9, stream, **request(engine))
    assert 5 <= check(out, fields)["thinking_tokens"] < 400


@on("default")
@row("B14", "an abort while answering", "the summary was missing", "the same fields as any answer")
def test_while_answering(engine, fields):
    out = engine.run(inside.abort_after_tokens, 30, False, **request(engine, ANSWERING))
    info = check(out, fields, "max_thinking_tokens")
    assert info["thinking_tokens"] == 12 and info["answer_tokens"] > 5


@on("default")
@not_on_0_5_22("what it says of an abort in a queue cannot be changed")
@row("B14", "an abort in the queue", "the summary was missing", "the same fields as any answer")
def test_while_it_waits_in_the_queue(engine, fields):
    out = engine.run(inside.abort_queued, 2 * SMALL["max_running_requests"], **request(engine))
    info = check(out, fields)
    assert info["thinking_tokens"] == info["answer_tokens"] == 0 and not out["output_ids"]
    assert "queue" in out["meta_info"]["finish_reason"]["message"]


@on("default")
@pytest.mark.parametrize("case", [SOFT, ANSWERING], ids=["thinking", "answering"])
@not_on_0_5_22("what it says of an abort in a queue cannot be changed")
@row(
    "B14", "an abort after a retraction", "the summary was missing", "the same fields as any answer"
)
def test_after_a_retraction(engine, fields, case):
    out = engine.run(inside.abort_retracted, 20, **request(engine, case))
    assert out["meta_info"]["num_retractions"] == 1, "it was not retracted"
    thinking = case is SOFT
    info = check(out, fields, "abort" if thinking else "max_thinking_tokens")
    assert info["thinking_tokens"] == (len(out["output_ids"]) if thinking else 12)
