"""The data of a page: columns, answers, texts."""

import base64
import re
from time import perf_counter

import numpy as np
import orjson
import pytest

from launch.bench.view import texts, thought
from sglang_soft.trace import Trace
from sglang_soft.view import data
from sglang_soft.view.page import file_html
from tests.view.browsing import trace_of


def column(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


def test_columns_are_the_values_that_were_fed():
    trace = trace_of([[(5, 0.7), (9, 0.3)], [(6, 1.0)]])
    found = data.of_trace(trace, "one", summary={"method": "soft", "trace": {}})
    assert (found["n"], found["k"], found["start"], found["prompt_len"]) == (2, 2, 2, 2)
    assert np.array_equal(column(found["ids"], "<i4").reshape(2, 2), trace.ids)
    assert np.array_equal(column(found["weights"], "<f4").reshape(2, 2), trace.weights)
    assert np.array_equal(column(found["entropy"], "<f4"), trace.entropy)
    assert found["summary"] == {"method": "soft"}
    assert Trace.from_base64(found["trace"]).to_json() == trace.to_json()
    assert "trace" not in data.of_trace(trace, "one", whole=False)


def test_rounded_weights_are_those_that_were_mixed():
    params = {"weight_bits": 4, "max_topk": 2}
    trace = trace_of([[(5, 0.75), (9, 0.25)]], params=params)
    found = data.of_trace(trace, "one")
    assert column(found["weights"], "<f4").tolist() == [0.75, 0.25]


def test_every_token_that_is_shown_has_a_text_and_unused_slots_have_none():
    trace = trace_of([[(5, 0.7), (9, 0.3)], [(6, 1.0)]], output_ids=[5, 6])
    assert data.tokens_of([trace]) == [5, 6, 9]
    page = data.page([data.of_trace(trace, "one")], [5, 6, 9], lambda ids: [f"<{i}>" for i in ids])
    assert page["texts"] == {"5": "<5>", "6": "<6>", "9": "<9>"}
    with pytest.raises(ValueError, match="one or two; got 3"):
        data.page([{}, {}, {}], [], None)


def test_the_answer_is_what_follows_the_thought():
    trace = trace_of(
        [[(5, 1.0)], [(4, 1.0)]], output_ids=[5, 4, 7, 8], thinking_finish_reason="stop_token"
    )
    assert data.answer_ids(trace) == [7, 8]
    never = trace.copy(start=None, steps=trace.steps.copy(slice(0, 0)))
    assert data.answer_ids(never) == [5, 4, 7, 8]


def test_no_text_ends_the_block_of_data():
    trace = trace_of([[(5, 1.0)]])
    hostile = "</script><script>alert(1)</script><!--"
    page = data.page([data.of_trace(trace, hostile, answer=hostile)], [5], lambda _: [hostile])
    html = file_html(page)
    assert html.count("<script") == file_html({}).count("<script")
    blocks = re.findall(r'<script type="application/json" id="trace">(.*?)</script>', html, re.S)
    assert len(blocks) == 1 and "<" not in blocks[0]
    assert orjson.loads(blocks[0])["texts"]["5"] == hostile


def test_32000_steps_in_a_moment():
    trace = thought(32_000)
    start = perf_counter()
    page = data.page([data.of_trace(trace, "long")], data.tokens_of([trace]), texts)
    assert perf_counter() - start < 2  # 0.2 s on an idle machine
    assert page["traces"][0]["n"] == 32_000
