"""Where a request goes on from a trace (`server/given.py`), and the request that does."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sglang_soft.engine.request import SoftRequest
from sglang_soft.params import Given
from sglang_soft.server import given
from sglang_soft.server.given import Wanted, check, defaults, place, split
from sglang_soft.server.kept import NO_TENANT, KeptTraces, UnknownTrace
from sglang_soft.trace import Steps, Trace
from tests.unit.soft_request import request_params
from tests.unit.test_cut import CLOSING, END, make, one_hot

START = (6,)
MODEL = SimpleNamespace(
    vocab_size=100, hidden_size=2, num_hidden_layers=1, dtype=torch.float32, context_len=64
)


def placed(trace: Trace, at: str | None = None, closing: tuple[int, ...] = (), end=(END,)):
    return place(trace, at, START, end, closing)


def open_thought(**fields) -> Trace:
    return make(tail=(), reason="length", **fields)


def waiting(outputs: list[int]) -> Trace:
    """It has not thought yet."""
    return Trace(
        method="soft", steps=Steps(3), prompt_ids=np.array([1, 2, 3], np.int32),
        output_ids=np.array(outputs, np.int32), model={"vocab_size": 100},
    )  # fmt: skip


# What a request asks for


@pytest.mark.parametrize("raw", [None, True, False, {}, {"method": "soft"}, "nonsense", [1]])
def test_what_has_no_such_key_stays_as_it_is(raw):
    assert split(raw) == (raw, Wanted())


def test_the_keys_are_taken_out():
    raw = {"trace": {"a": 1}, "at": "end", "cut": 3, "keep": True, "max_topk": 5}
    left, wanted = split(raw)
    assert left == {"max_topk": 5} and wanted == Wanted({"a": 1}, "end", 3, True)
    assert len(raw) == 5, "a batch may share it"
    assert split({"trace": None, "at": None, "cut": None, "keep": None}) == ({}, Wanted())


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"trace": "x", "at": "middle"}, ["at must be one of next, answer, end", "'middle'"]),
        ({"trace": "x", "at": ["end"]}, ["at must be one of"]),
        ({"trace": "x", "at": 1}, ["at must be one of"]),
        ({"trace": "x", "cut": -1}, ["cut must be a whole number >= 0", "-1"]),
        ({"trace": "x", "cut": True}, ["cut", "True"]),
        ({"trace": "x", "cut": 2.0}, ["cut", "2.0"]),
        ({"trace": "x", "cut": "2"}, ["cut", "'2'"]),
        ({"keep": 1}, ["keep must be true or false", "1"]),
        ({"keep": "yes"}, ["keep", "'yes'"]),
        ({"at": "next"}, ["at needs soft_thinking.trace"]),
        ({"cut": 0}, ["cut needs soft_thinking.trace"]),
    ],
)
def test_a_wrong_value_is_named(raw, words):
    with pytest.raises(ValueError) as error:
        split(raw)
    assert all(word in str(error.value) for word in words), error.value


def test_a_trace_in_every_form():
    kept, trace = KeptTraces(10**6, 60), make()
    handle = kept.put(trace)["id"]
    for value in (trace, handle, trace.to_base64(), trace.to_json(), [trace.to_json()]):
        found = given.read(Wanted(value, cut=4), kept, NO_TENANT, 10**6, 64)
        assert found.ids.tolist() == trace.ids[:4].tolist()
    with pytest.raises(UnknownTrace, match=r"soft_thinking\.trace: no trace is kept"):
        given.read(Wanted("trace-1"), kept, NO_TENANT, 10**6, 64)
    for value in (3, 2.5, True, ("a",)):
        with pytest.raises(ValueError, match="must be an object, base64 of a file, or a handle"):
            given.read(Wanted(value), kept, NO_TENANT, 10**6, 64)


def read(value, **limits):
    limits = {"max_bytes": 10**6, "max_tokens": 64} | limits
    return given.read(Wanted(value), KeptTraces(0, 1), NO_TENANT, **limits)


def test_the_models_context_bounds_a_trace_before_it_is_read():
    whole = make().to_json()
    for name in ("ids", "weights", "entropy", "prompt_ids", "output_ids"):
        with pytest.raises(ValueError, match=f"{name} has 100 entries"):
            read(whole | {name: [None] * 100})
    with pytest.raises(ValueError, match="entropy has 160000 entries in 2 parts"):
        read([{"entropy": [0.0] * 80_000}] * 2)
    with pytest.raises(ValueError, match="in 90 parts"):
        read([{"a": 1}] * 90)
    with pytest.raises(ValueError, match="ids has 100 entries"):
        read(whole | {"prompt_concepts": {"start": 1, "ids": [[1]] * 100}})
    with pytest.raises(ValueError, match="at most 500 are allowed"):
        read(make().to_base64(), max_bytes=500)
    with pytest.raises(ValueError, match="13 entries in 1 parts"):
        read(make().to_base64(), max_tokens=7)


def test_a_trace_object_of_ones_own_is_looked_at_too():
    """`Engine.generate` takes them; anyone may have changed one."""
    for change in (
        {"prompt_ids": [1, 2, 3]}, {"output_ids": np.zeros(10)}, {"method_state": None},
        {"prompt_ids": np.zeros((3, 1), np.int32)}, {"tokenizer": None}, {"params": None},
        {"steps": None}, {"start": "5"}, {"segments": [1]}, {"low_entropy_steps": -1},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"soft_thinking\.trace: "):
            read(make().copy(**change))


# What is fed must be what the engine can feed


def with_last(ids: list[int], weights: list[float]) -> Trace:
    trace = make(tail=())
    trace.steps.append(np.array(ids, np.int32), np.array(weights, np.float32), 0.1)
    return trace.copy(output_ids=np.array([4, 5, *range(20, 28), END, 60], np.int32))


def test_think_end_is_fed_as_itself():
    check(with_last([END], [1.0]), MODEL, 8)
    for ids, weights in (([END, 3], [0.5, 0.5]), ([END - 1], [1.0]), ([END], [0.9995])):
        with pytest.raises(ValueError, match=r"ids\[8\] must be \[9\] with weight 1"):
            check(with_last(ids, weights), MODEL, 8)


def test_an_open_thought_ends_the_trace():
    trace = open_thought()
    more = trace.copy(output_ids=np.append(trace.output_ids, np.int32(5)))
    with pytest.raises(ValueError, match="output_ids has 1 tokens after an open thought"):
        check(more, MODEL, 8)


def test_what_the_slots_and_the_model_cannot_hold():
    with pytest.raises(ValueError, match=r"its k must be at most 2.*got 3"):
        check(make(), MODEL, 2)
    for weights in ([1e30, -1e30], [65.0, -64.0]):
        trace = open_thought()
        trace.steps.append(np.array([1, 2], np.int32), np.array(weights, np.float32), 0.0)
        trace = trace.copy(output_ids=np.append(trace.output_ids, np.int32(1)))
        with pytest.raises(ValueError, match=r"weights\[8\]\[0\] must be in \[-64, 64\]"):
            check(trace, MODEL, 8)
    for name in ("vocab_size", "hidden_size", "num_hidden_layers"):
        other = SimpleNamespace(**vars(MODEL) | {name: 7})
        trace = make()
        trace.model |= {"hidden_size": 2, "layers": 1}
        with pytest.raises(ValueError, match="of another model"):
            check(trace, other, 8)


@pytest.mark.parametrize(
    ("nbytes", "dtype", "value", "words"),
    [
        (8, "float32", 3.1e4, "must be within 30000"),
        (4, "float16", 1.0, "4 bytes of float16; this server feeds 8 bytes of float32"),
        (12, "float32", 1.0, "12 bytes of float32; this"),
        (8, "bfloat16", 1.0, "8 bytes of bfloat16; this"),
    ],
)
def test_offsets_are_of_this_model(nbytes, dtype, value, words):
    trace = open_thought()
    trace.steps.use_offsets(nbytes, dtype)
    raw = np.full(nbytes // 4, value, np.float32) if dtype == "float32" else np.zeros(nbytes, "u1")
    trace.steps.offsets[3] = np.frombuffer(raw.tobytes(), np.uint8)
    with pytest.raises(ValueError, match=words):
        check(trace, MODEL, 8)


def test_a_parameter_that_this_server_does_not_allow():
    with pytest.raises(ValueError, match=r"of its params, .*max_topk"):
        defaults(make(params={"max_topk": 60}), 32)
    for name, value in (("temperature", -1.0), ("weight_bits", 99), ("closing_text", 5)):
        with pytest.raises(ValueError, match=rf"of its params, .*{name}"):
            defaults(make(params={name: value}), 32)
    known = defaults(make(params={"temperature": 0.5, "max_new_tokens": 9}), 32)
    assert known["temperature"] == 0.5 and "max_new_tokens" not in known


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
    trace = make(
        tail=CLOSING[:1], reason="length", tail_step=1, tail_reason="eos",
        params={"closing_ids": [*CLOSING]},
    )  # fmt: skip
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
    trace = make(
        tail=CLOSING[:1], reason="length", tail_step=1, tail_reason="method",
        params={"closing_ids": [*CLOSING]},
    )  # fmt: skip
    state = going_on(trace, "next", CLOSING).state
    assert state.tail % 256 == 1 and state.think_step == 9


def test_the_request_that_only_reads_the_prompt_has_no_steps():
    request = SoftRequest(request_params(given=Given(0, None)), 5)
    assert request.given_tokens == 5 and not len(request.trace.steps)
