"""Where a request goes on from a trace (`server/given.py`), and the request that does."""

import numpy as np
import pytest

from sglang_soft.engine.request import SoftRequest
from sglang_soft.params import Given
from sglang_soft.server.given import place
from sglang_soft.trace import Steps, Trace
from tests.unit.soft_request import request_params
from tests.unit.test_cut import CLOSING, END, make, one_hot, open_thought

START = (6,)


def placed(trace: Trace, at: str | None = None, closing: tuple[int, ...] = (), end=(END,)):
    return place(trace, at, START, end, closing)


def waiting(outputs: list[int]) -> Trace:
    """It has not thought yet."""
    return Trace(
        method="soft", steps=Steps(3), prompt_ids=np.array([1, 2, 3], np.int32),
        output_ids=np.array(outputs, np.int32), model={"vocab_size": 100},
    )  # fmt: skip


def in_a_tail(reason: str) -> Trace:
    """The first token of its closing text was forced."""
    return make(
        tail=CLOSING[:1], reason="length", tail_step=1, tail_reason=reason,
        params={"closing_ids": [*CLOSING]},
    )  # fmt: skip


# Where it goes on


@pytest.mark.parametrize("at", [None, "next"])
def test_an_open_thought_goes_on_at_its_next_step(at):
    trace = open_thought()
    found = placed(trace, at)
    assert (found.thinks, found.ends, found.outputs) == (True, False, 10)
    assert found.tokens.tolist() == [1, 2, 3, 4, 5, *range(20, 28)]
    given = found.given
    assert given.prompt_len == 3 and given.steps.steps == 8 and given.steps.start == 5
    assert given.thinking_finish_reason is None and given.low_entropy_steps == 3
    assert given.segments == ({"step": 0, "method": "soft", "params": trace.params, "seed": None},)


def test_an_ended_thought_goes_on_in_its_answer():
    found = placed(make())
    assert not found.thinks and found.tokens.tolist()[-3:] == [END, 60, 61]
    assert found.given.thinking_finish_reason == "stop_token" and found.given.steps.steps == 9
    with pytest.raises(ValueError, match=r"at=next: the thought .* has ended \(stop_token\)"):
        placed(make(), "next")


def test_at_answer_drops_the_answer_or_ends_the_thought():
    found = placed(make(), "answer")
    assert found.tokens.tolist()[-2:] == [27, END] and found.outputs == 11
    closed = placed(open_thought(), "answer", CLOSING, (7, 8))
    assert closed.tokens.tolist()[-5:] == [27, *CLOSING, 7, 8]
    steps = Steps.of(closed.given.steps, 3)
    assert (
        steps.ids[8:, 0].tolist() == [*CLOSING, 7, 8] and steps.weights[8:, 0].tolist() == [1] * 4
    )
    assert closed.given.thinking_finish_reason == "request" and not closed.thinks
    with pytest.raises(ValueError, match="at=answer: the trace has no thought"):
        placed(waiting([4]), "answer")


def test_at_answer_changes_no_trace():
    """A kept one is used again."""
    trace = open_thought()
    placed(trace, "answer", CLOSING)
    placed(trace, "end")
    assert len(trace.steps) == 8 and len(trace.output_ids) == 10


def test_before_its_thought():
    assert not placed(waiting([4, 5])).thinks
    assert placed(waiting([4, 5])).given.steps.start is None
    part = place(waiting([4, 6]), None, (6, 7), (END,), ())
    assert part.given.delimiter_match == 1, "half of think-start"
    with pytest.raises(ValueError, match="at=next: the trace has no thought"):
        placed(waiting([4]), "next")


def test_inside_think_end():
    trace = make(tail=(7,), reason="length", end=(7, 8))
    assert placed(trace, "next", end=(7, 8)).given.delimiter_match == 1
    assert placed(trace, "next", end=(5, 5)).given.delimiter_match == 0, "that of this server"


def test_inside_a_forced_end():
    trace = in_a_tail("eos")
    found = placed(trace, "next", CLOSING).given
    assert (found.tail_step, found.tail_reason) == (1, "eos")
    other = placed(trace, "next", (40, 41)).given
    assert (other.tail_step, other.tail_reason) == (0, None), "another closing text"
    with pytest.raises(ValueError, match=r"tail_step must be in \[0, 2\]; got 3"):
        placed(trace.copy(tail_step=3), "next", CLOSING)


def test_a_tail_that_no_step_of_the_engine_makes():
    """`request` is the reason of a think-end that was put there; it has no kind of step, so a row
    that stands in such a tail would end the scheduler."""
    for reason in ("request", "stop_token"):
        with pytest.raises(ValueError, match="tail_reason must be one of cold_stop"):
            open_thought(tail_step=1, tail_reason=reason).validate()


def test_at_end_a_thought_is_part_of_the_prompt():
    found = placed(make(), "end")
    assert (found.thinks, found.ends, found.outputs) == (False, True, 0)
    assert found.tokens.tolist()[-3:] == [END, 60, 61] and found.given.steps is None
    block = Steps.of(found.given.prompt_steps, 3)
    assert found.given.prompt_steps.start == 5
    assert block.ids.tolist() == make().ids[:8].tolist(), "think-end is a plain token"
    assert placed(waiting([4, 5]), "end").given.prompt_steps is None


def two_thoughts(offsets: bool = False) -> Trace:
    """A prompt with a thought of two steps at 2, tokens 12, 13, 14 after it, then a second one."""
    prompt_steps = Steps(2)
    for at in range(2):
        weights = np.array([0.5, 0.5], np.float32)
        prompt_steps.append(np.array([70 + at, 80 + at], np.int32), weights, 0.7)
    trace = make(prompt_start=2, prompt_steps=prompt_steps, states=1)
    prompt = np.array([1, 2, 70, 71, 12, 13, 14], np.int32)
    trace = trace.copy(prompt_ids=prompt, start=9)
    if offsets:
        trace.steps.use_offsets(8, "float32")
        trace.steps.offsets[:8] = 7
    trace.validate()
    return trace


@pytest.mark.parametrize("offsets", [False, True])
def test_two_thoughts_in_one_prompt(offsets):
    trace = two_thoughts(offsets)
    found = placed(trace, "end")
    block, start = Steps.of(found.given.prompt_steps, 3), found.given.prompt_steps.start
    assert start == 2 and len(block) == 2 + 5 + 8
    plain = [12, 13, 14, 4, 5]
    assert block.ids[:2].tolist() == [[70, 80, 0], [71, 81, 0]]
    assert block.ids[2:7, 0].tolist() == plain and block.weights[2:7].tolist() == [[1, 0, 0]] * 5
    assert block.ids[7:].tolist() == trace.ids[:8].tolist()
    assert found.tokens[start + 2 : start + 7].tolist() == plain
    assert block.offset_bytes == 8 * offsets
    assert not block.offsets[:7].any() and bool(block.offsets[7:].any()) == offsets
    assert np.isnan(block.extra["states"][:7]).all() and block.extra["states"][7] == 0.5


def test_a_third_thought_follows_the_two():
    found = placed(two_thoughts(), "end")
    first = Trace(
        method="soft", steps=Steps(3), start=25,
        prompt_ids=np.array([*found.tokens.tolist(), 50, 51, 52], np.int32),
        prompt_start=2, prompt_steps=Steps.of(found.given.prompt_steps, 3),
        model={"vocab_size": 100},
    )  # fmt: skip
    start = len(first.prompt_ids)
    steps = Steps(3)
    one_hot(steps, 33)
    third = first.copy(steps=steps, start=start, output_ids=np.array([33], np.int32),
                       thinking_finish_reason="length")  # fmt: skip
    third.validate()
    block = Steps.of(placed(third, "end").given.prompt_steps, 3)
    assert len(block) == start - 2 + 1 and block.ids[-1, 0] == 33
    assert block.ids[-4:-1, 0].tolist() == [50, 51, 52]


def test_at_next_the_earlier_thoughts_stay_in_the_prompt():
    trace = two_thoughts().cut(3)
    found = placed(trace, "next").given
    assert found.prompt_steps.start == 2 and found.prompt_steps.steps == 2
    assert found.prompt_len == 7 and found.steps.steps == 3


# The request that goes on


def going_on(trace: Trace, at: str | None = None, closing=(), **changes) -> SoftRequest:
    found = placed(trace, at, closing)
    changes = {"think_start": START, "think_end": (END,), "closing": closing} | changes
    params = request_params(given=found.given, starts_thinking=found.thinks, **changes)
    return SoftRequest(params, len(found.tokens))


def step(request: SoftRequest, weights: list[float]) -> None:
    ids = np.arange(30, 30 + len(weights), dtype=np.int32)
    fed = np.array(weights, np.float32)
    request.commit(int(ids[0]), 1, ids, fed, 0.2, 0, np.zeros(0, np.float32))


@pytest.mark.parametrize(("theirs", "own"), [(8, 8), (4, 9), (9, 4), (8, None), (0, 8), (16, 1)])
def test_weights_of_another_grid(theirs, own):
    """A step of the finer grid does not fit into the columns of the coarser one: it would end the
    scheduler."""
    request = going_on(open_thought(bits=theirs), max_topk=3, weight_bits=own)
    assert request.trace.steps.weight_bits == (theirs if theirs == own else 0)
    unit = 2.0 ** -(own or 20)
    step(request, [1 - unit, unit] if own != 1 else [0.5, 0.5])
    request.finish([1, 2, 3, 4, 5, *range(20, 28)], [30], "length")
    whole = Trace.from_json(request.trace.to_json())
    assert whole.weights[:8].tolist() == open_thought(bits=theirs).weights.tolist()
    assert whole.weights[8].max() == (1 - unit if own != 1 else 0.5)
    assert len(whole.segments) == 2


def test_a_thought_that_was_cut_at_its_first_step_is_all_its_own():
    """Nothing is left of the other request: not its slots, nor its grid."""
    request = going_on(make(bits=4).cut(0), "next", max_topk=2, weight_bits=9)
    assert request.trace.steps.k == 2 and request.trace.segments == []
    step(request, [1 - 2.0**-9, 2.0**-9])
    request.finish([1, 2, 3, 4, 5], [30], "length")
    assert Trace.from_json(request.trace.to_json()).steps.weight_bits == 9


def test_a_request_that_made_no_step_leaves_no_segment_behind():
    """Two answers in turn, each with other parameters, to one thought: each step has one maker."""
    trace = open_thought()
    for temperature in (0.5, 0.7):
        request = going_on(trace, "answer", max_topk=3, temperature=temperature)
        request.finish([1, 2, 3, 4, 5, *range(20, 28), END], [], "length")
        trace = Trace.from_json(request.trace.to_json())
        assert [s["step"] for s in trace.segments] == [0, len(trace.steps)]


def test_more_slots_than_the_request_asks_for():
    request = going_on(open_thought(), max_topk=1)
    step(request, [1.0])
    request.finish([1, 2, 3, 4, 5, *range(20, 28)], [30], "length")
    assert request.trace.steps.k == 3
    assert Trace.from_json(request.trace.to_json()).ids[8].tolist() == [30, 0, 0]


def test_a_tail_goes_on_where_it_stood():
    state = going_on(in_a_tail("method"), "next", CLOSING).state
    assert state.tail % 256 == 1 and state.think_step == 9


def test_the_request_that_only_reads_the_prompt_has_no_steps():
    request = SoftRequest(request_params(given=Given(0, None)), 5)
    assert request.given_tokens == 5 and not len(request.trace.steps)
