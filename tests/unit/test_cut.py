"""`Trace.cut`: the trace as it was after some of its steps, with all state that follows from them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sglang_soft.trace import Steps, Trace
from sglang_soft.trace.codec import header, steps_to_json
from tests.unit.test_trace import same

END, TWO = 9, (7, 8)
"""Think-end of one token, and of two."""
ENTROPIES = (2.0, 0.5, 0.4, 0.3, 1.5, 0.2, 0.1, 0.05)


def one_hot(steps: Steps, token: int) -> None:
    steps.append(np.array([token], np.int32), np.ones(1, np.float32), 0.1)


def make(
    *, tail: tuple[int, ...] = (END,), reason: str | None = "stop_token", bits: int = 0,
    end: int | tuple[int, ...] = END, states: int = 0, **fields,
) -> Trace:  # fmt: skip
    """Eight steps that mix two tokens, then one-hot steps of `tail`. The prompt has 3 tokens, 2
    more were emitted before the thought, and 2 after it if it ended."""
    steps = Steps(3, weight_bits=bits, extra={"states": states} if states else None)
    for at, entropy in enumerate(ENTROPIES):
        more = {"states": np.full(states, at + 0.5, np.float32)} if states else None
        weights = np.array([0.75, 0.25], np.float32)
        steps.append(np.array([20 + at, 40 + at], np.int32), weights, entropy, extra=more)
    for token in tail:
        one_hot(steps, token)
    thought = [*range(20, 28), *tail]
    ended = reason not in (None, "length", "abort")
    params = {"max_topk": 3, "cold_stop_entropy": 0.45, "closing_ids": []}
    return Trace(
        method="soft", steps=steps, start=5, prompt_ids=np.array([1, 2, 3], np.int32),
        output_ids=np.array([4, 5, *thought, *([60, 61] if ended else [])], np.int32),
        thinking_finish_reason=reason, low_entropy_steps=3, seed=None,
        params=params | ({"weight_bits": bits} if bits else {}) | fields.pop("params", {}),
        model={"vocab_size": 100},
        tokenizer={"think_end_id": list(end) if isinstance(end, tuple) else end}, **fields,
    )  # fmt: skip


def open_thought(**fields) -> Trace:
    return make(tail=(), reason="length", **fields)


@pytest.mark.parametrize(
    ("steps", "count"), [(0, 0), (1, 0), (2, 0), (3, 1), (4, 2), (5, 0), (6, 1), (7, 2), (8, 3)]
)
def test_cold_stop_counts_the_last_confident_steps(steps, count):
    """Confident: below 0.45. Of the entropies 0.4 and 0.3 are, and the last three."""
    part = make().cut(steps)
    assert part.low_entropy_steps == count
    assert len(part.steps) == steps and part.thinking_finish_reason is None
    part.validate()


def test_without_cold_stop_nothing_is_counted():
    assert make(params={"cold_stop_entropy": 0.0}).cut(8).low_entropy_steps == 0
    trace = make()
    del trace.params["cold_stop_entropy"]
    assert trace.cut(8).low_entropy_steps == 0


def test_the_threshold_is_compared_as_the_device_compares_it():
    """0.1 as a float64 is below float32's 0.1: a step of exactly the threshold is not confident."""
    trace = make(params={"cold_stop_entropy": 0.1})
    assert trace.cut(7).low_entropy_steps == 0 and trace.cut(8).low_entropy_steps == 1


@pytest.mark.parametrize("steps", [0, 3, 8])
def test_what_came_later_is_gone(steps):
    trace = make()
    part = trace.cut(steps)
    assert part.start == 5
    assert part.output_ids.tolist() == [4, 5, *range(20, 20 + steps)]
    for name in ("ids", "weights", "entropy"):
        assert np.array_equal(getattr(part, name), getattr(trace, name)[:steps])
    assert (part.tail_step, part.tail_reason, part.delimiter_match) == (0, None, 0)
    assert len(trace.steps) == 9 and trace.thinking_finish_reason == "stop_token", "not changed"


@pytest.mark.parametrize("steps", [9, -1, 100, True, 2.0, "3", None])
def test_there_is_no_such_step(steps):
    """Step 9 would be think-end, which is no thinking token."""
    with pytest.raises(ValueError, match=r"cut must be a whole number in \[0, 8\]"):
        make().cut(steps)


def test_an_open_thought_is_cut_at_all_of_its_steps():
    part = make(tail=(), reason="length").cut(8)
    assert len(part.steps) == 8 and part.thinking_finish_reason is None


def test_a_trace_that_never_thought():
    trace = Trace(method="soft", steps=Steps(3), output_ids=np.array([5], np.int32))
    assert trace.cut(0).output_ids.tolist() == [5]
    with pytest.raises(ValueError, match=r"\[0, 0\]"):
        trace.cut(1)


def test_the_methods_state_is_that_after_the_last_step_that_is_kept():
    trace = make(states=2)
    assert trace.cut(3).method_state.tolist() == [2.5, 2.5]
    assert trace.cut(8).method_state.tolist() == [7.5, 7.5]
    assert trace.cut(0).method_state.size == 0, "the method's first state"
    assert make().cut(3).method_state.size == 0
    unknown = make(states=2)
    unknown.steps.extra["states"][2, 1] = np.nan
    assert unknown.cut(3).method_state.size == 0


CLOSING = (30, 31)


@pytest.mark.parametrize(
    ("steps", "tail"), [(8, 0), (9, 1), (10, 2), (7, 0), (0, 0)]
)  # fmt: skip
def test_a_cut_inside_a_forced_end(steps, tail):
    """Eight steps, two tokens of closing text, think-end: after step 9 the next is closing[1]."""
    trace = make(tail=(*CLOSING, END), reason="cold_stop", params={"closing_ids": [*CLOSING]})
    part = trace.cut(steps)
    assert (part.tail_step, part.tail_reason) == (tail, "cold_stop" if tail else None)
    part.validate()


@pytest.mark.parametrize("reason", ["max_thinking_tokens", "method", "eos"])
def test_every_forced_end_is_known(reason):
    trace = make(tail=(*CLOSING, END), reason=reason, params={"closing_ids": [*CLOSING]})
    assert (trace.cut(9).tail_step, trace.cut(9).tail_reason) == (1, reason)


def test_the_same_tokens_without_a_forced_end():
    """The model said the closing text by itself, and then think-end."""
    trace = make(tail=(*CLOSING, END), params={"closing_ids": [*CLOSING]})
    assert trace.cut(10).tail_step == 0


def test_a_trace_that_stopped_inside_a_forced_end():
    trace = make(
        tail=CLOSING[:1], reason="length", params={"closing_ids": [*CLOSING]}, tail_step=1,
        tail_reason="cold_stop",
    )  # fmt: skip
    trace.validate()
    assert (trace.cut(9).tail_step, trace.cut(9).tail_reason) == (1, "cold_stop")
    assert trace.cut(8).tail_step == 0


@pytest.mark.parametrize("tail_step", [3, 40, 71])
def test_a_tail_that_its_tokens_do_not_have(tail_step):
    """A client may write anything; the error names the field."""
    trace = make(tail=(), reason="length", tail_step=tail_step, tail_reason="cold_stop")
    with pytest.raises(ValueError, match="tail_step"):
        trace.cut(7)


def test_a_think_end_of_two_tokens():
    trace = make(tail=TWO, end=TWO)
    part = trace.cut(9)  # within think-end
    assert part.delimiter_match == 1 and part.output_ids[-1] == TWO[0]
    assert trace.cut(8).delimiter_match == 0
    forced = make(tail=(*CLOSING, *TWO), end=TWO, reason="eos", params={"closing_ids": [*CLOSING]})
    assert (forced.cut(11).tail_step, forced.cut(11).delimiter_match) == (3, 1)
    assert (forced.cut(9).tail_step, forced.cut(9).delimiter_match) == (1, 0)


def test_a_think_end_that_overlaps_itself():
    """Of (7, 7, 8) two tokens match after 7, 7, 7."""
    end = (7, 7, 8)
    trace = make(tail=(7, 7, 7, 8), end=end)
    assert [trace.cut(n).delimiter_match for n in (8, 9, 10, 11)] == [0, 1, 2, 2]


def segment(step: int, **changes) -> dict:
    made = {"method": "soft", "params": {"max_topk": 3, "cold_stop_entropy": 0.0}, "seed": None}
    return {"step": step, **made} | changes


def test_segments_that_begin_later_are_gone():
    trace = make(segments=[segment(0, seed=1), segment(3, method="cot"), segment(6, seed=3)])
    trace.validate()
    part = trace.cut(5)
    assert [s["step"] for s in part.segments] == [0, 3]
    assert part.method == "cot" and part.low_entropy_steps == 0, "its own threshold"
    first = trace.cut(3)
    assert first.segments == [] and (first.method, first.seed) == ("soft", 1)
    assert trace.cut(0).seed == 1
    assert [s["step"] for s in trace.cut(8).segments] == [0, 3, 6]


def test_an_edit_stays_known():
    trace = make(segments=[segment(0), {"step": 2, "edited": "sharpen"}])
    trace.validate()
    assert trace.cut(5).segments == trace.segments
    assert trace.cut(2).segments == []


def rich(bits: int = 0) -> Trace:
    """With all that a trace may have."""
    prompt_steps = Steps(2)
    for at in range(2):
        prompt_steps.append(np.array([at, 50], np.int32), np.array([0.5, 0.5], np.float32), 0.7)
    trace = make(bits=bits, states=3, segments=[segment(0), segment(4, method="cot")])
    if bits:  # those of several requests may be on different grids
        trace.segments = []
    trace.steps.use_extra("logprobs", 1)
    trace.steps.use_extra("drawn", 2)
    trace.steps.extra["logprobs"][:5] = -0.25
    trace.steps.extra["drawn"][2:] = 17
    return replace(trace, prompt_start=1, prompt_steps=prompt_steps)


def columns(steps: Steps) -> dict[str, np.ndarray]:
    extra = steps.extra if len(steps) else {}  # JSON has no width of a column without rows
    return {"ids": steps.ids, "weights": steps.weights, "entropy": steps.entropy} | extra


def alike(a: Trace, b: Trace) -> bool:
    for mine, theirs in ((a.steps, b.steps), (a.prompt_steps, b.prompt_steps)):
        ours, others = columns(mine), columns(theirs)
        assert ours.keys() == others.keys()
        for name, rows in ours.items():
            assert np.array_equal(rows, others[name], equal_nan=rows.dtype.kind == "f"), name
    left = {"prompt_steps": None}
    return same(replace(a, **left), replace(b, **left))


@pytest.mark.parametrize("bits", [0, 2, 8, 16])
@pytest.mark.parametrize("cut", [None, 0, 5])
def test_everything_comes_back_from_json_and_from_a_file(bits, cut, tmp_path):
    import orjson

    trace = rich(bits) if cut is None else rich(bits).cut(cut)
    trace.validate()
    assert alike(Trace.from_json(trace.to_json()), trace)
    assert alike(Trace.from_json(orjson.loads(orjson.dumps(trace.to_json()))), trace), "NaN: null"
    assert alike(Trace.from_json(json.loads(json.dumps(trace.to_json()))), trace)
    assert alike(Trace.from_base64(trace.to_base64()), trace)
    trace.save(tmp_path / "a.npz")
    loaded = Trace.load(tmp_path / "a.npz")
    assert alike(loaded, trace) and loaded.steps.weight_bits == trace.steps.weight_bits
    parts = [
        steps_to_json(trace.steps.copy(slice(0, 3)).delta(0, trace.start)),
        steps_to_json(trace.steps.delta(min(3, len(trace.steps)), trace.start)) | header(trace),
    ]
    if len(trace.steps) > 3:
        assert alike(Trace.from_json(parts), trace)


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_ids_of_more_than_24_bits_do_not_wrap_around(bits):
    """With weight_bits an id has 24 bits in memory: a larger one is refused, not another token."""
    whole = make(bits=max(bits, 2)).to_json()
    whole["model"] = {}
    whole["ids"][0][0] = 2**24 + 5
    with pytest.raises(ValueError, match=r"ids\[0\]\[0\]"):
        Trace.from_json(whole)
    whole["ids"][0][0] = -1
    with pytest.raises(ValueError, match=r"ids\[0\]\[0\]"):
        Trace.from_json(whole)
