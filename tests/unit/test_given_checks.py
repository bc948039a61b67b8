"""A trace that a request brings (`server/given.py`): how it is asked for, read and checked."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sglang_soft.server import given
from sglang_soft.server.given import Wanted, check, defaults, split
from sglang_soft.server.kept import NO_TENANT, KeptTraces, UnknownTrace
from sglang_soft.trace import Trace
from tests.unit.test_cut import END, make, open_thought

MODEL = SimpleNamespace(
    vocab_size=100, hidden_size=2, num_hidden_layers=1, dtype=torch.float32, context_len=64
)


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
