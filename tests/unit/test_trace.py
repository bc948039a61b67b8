"""`Trace`: columns, codecs, validation. Neither torch nor sglang is needed to read one."""

import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sglang_soft_kernels.layout import StepKind

from sglang_soft.trace import Steps, Trace
from sglang_soft.trace.steps import decode_offset

HIDDEN = 6


def make(
    steps: int = 5, *, k: int = 4, offsets: str | None = None, reason: str | None = "stop_token",
    bits: int = 0,
) -> Trace:  # fmt: skip
    """A thought of `steps` steps after a prompt of 3 tokens and 2 plain output tokens."""
    rng = np.random.default_rng(steps)
    columns = Steps(k, weight_bits=bits)
    if offsets:
        columns.use_offsets(HIDDEN * (4 if offsets == "float32" else 2), offsets)
    for step in range(steps):
        size = 1 + step % k
        weights = rng.random(size).astype(np.float32)
        weights = np.sort(weights)[::-1] / weights.sum()
        if bits:
            units = rng.multinomial(2**bits - size, weights.astype(float) / weights.sum()) + 1
            weights = (units / 2**bits).astype(np.float32)
        raw = rng.integers(0, 63, columns.offset_bytes, np.uint8).tobytes()  # finite in any dtype
        columns.append(rng.integers(0, 100, size, np.int32), weights, rng.random() * 3, raw)
    return Trace(
        method="soft", steps=columns, start=5,
        prompt_ids=np.array([1, 2, 3], np.int32),
        output_ids=np.arange(steps + 4, dtype=np.int32) % 100,
        thinking_finish_reason=reason, low_entropy_steps=2,
        method_state=np.array([0.1, 2.0], np.float32),
        params={"method": "soft", "max_topk": k} | ({"weight_bits": bits} if bits else {}), seed=7, model={"vocab_size": 100},
        versions={"sglang": "x"},
    )  # fmt: skip


def same(a: Trace, b: Trace) -> bool:
    columns = ("ids", "weights", "entropy", "offsets")
    equal = all(np.array_equal(getattr(a.steps, c), getattr(b.steps, c)) for c in columns)
    arrays = ("prompt_ids", "output_ids", "method_state")
    equal &= all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays)
    rest = {name: None for name in (*arrays, "steps")}
    return equal and replace(a, **rest) == replace(b, **rest)


def through_json(value):
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("offsets", [None, "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("steps", [0, 1, 300])
def test_json_and_npz_bring_every_bit_back(steps, offsets, tmp_path):
    reason = "length" if steps else None
    trace = make(steps, offsets=offsets if steps else None, reason=reason)
    assert same(Trace.from_json(through_json(trace.to_json())), trace)
    trace.save(tmp_path / "thought.npz")
    assert same(Trace.load(tmp_path / "thought.npz"), trace)
    memory = io.BytesIO()
    trace.save(memory)
    memory.seek(0)
    assert same(Trace.load(memory), trace)


@pytest.mark.parametrize("bits", [2, 8, 15, 16])
def test_weights_on_a_grid_come_back(bits, tmp_path):
    trace = make(300, bits=bits)
    assert (trace.weights == 1).any(), "one of all units"
    assert same(Trace.from_json(through_json(trace.to_json())), trace)
    trace.save(tmp_path / "thought.npz")
    assert same(Trace.load(tmp_path / "thought.npz"), trace)
    off_grid = through_json(trace.to_json())
    step = next(i for i, row in enumerate(off_grid["weights"]) if len(row) > 1)
    off_grid["weights"][step][0] += 2.0 ** -(bits + 2)
    with pytest.raises(ValueError, match=rf"weights\[{step}\] must be multiples of 1/{2**bits}"):
        Trace.from_json(off_grid)
    for wrong in (17, -1, "8"):
        off_grid["params"]["weight_bits"] = wrong
        with pytest.raises(ValueError, match="weight_bits must be null or in"):
            Trace.from_json(off_grid)


@pytest.mark.parametrize("bits", [4, 15, 16])
def test_any_weights_on_a_grid_are_kept(bits):
    """Below 0, above 1, and none at all, which methods that push away or feed an offset make."""
    unit, large_id = 2.0**-bits, 2**24 - 1
    rows = [[1.0], [1 - unit, unit], [-0.5, 1.5], [1.0], [0.0, 0.0], [0.25, 0.75]]
    steps = Steps(3, weight_bits=bits)
    for row in rows:
        steps.append(np.full(len(row), large_id, np.int32), np.array(row, np.float32), 0.5)
    assert [row[: len(w)] for row, w in zip(steps.weights.tolist(), rows)] == rows
    assert steps.weights.dtype == np.float32 and steps.ids.dtype == np.int32
    assert steps.weights_of(slice(2, 4)).tolist() == steps.weights[2:4].tolist()
    assert steps.ids[1].tolist() == [large_id, large_id, 0]


def test_a_stream_of_chunks_is_one_trace():
    from sglang_soft.trace.codec import header, steps_to_json

    trace, growing = make(7, offsets="bfloat16"), Steps(4)
    growing.use_offsets(2 * HIDDEN, "bfloat16")
    chunks, sent = [{}], 0
    for stop in (1, 4, 4, 7):
        steps = trace.steps
        rows = slice(len(growing), stop)
        columns = (steps.ids, steps.weights, steps.entropy, steps.offsets)
        growing.extend(*(c[rows] for c in columns))
        chunks.append(steps_to_json(growing.delta(sent, trace.start)))
        sent = stop
    chunks[-1] |= header(trace)
    assert same(Trace.from_json(through_json(chunks)), trace)
    with pytest.raises(ValueError, match="chunks are missing"):
        Trace.from_json([chunks[1], chunks[4]])


def test_kinds_and_positions():
    trace = make(5)
    assert trace.kinds.tolist() == [0, 0, 1, 1, 1, 1, StepKind.STOP_TOKEN, 0, 0]
    assert list(trace.concept_positions(0, 100)) == [5, 6, 7, 8]
    (fed,) = trace.fed(6, 8)
    assert (fed.positions, fed.rows, fed.steps) == (range(6, 8), slice(1, 3), trace.steps)
    assert trace.fed(90, 99) == []
    assert make(5, reason="length").thinking_tokens == 5
    concept = trace.concept(2)
    assert len(concept.ids) == len(concept.weights) == 3 and concept.offset is None


def test_offsets_are_read_in_the_models_dtype():
    import torch

    values = torch.tensor([1.5, -3.25, 1e-3, 7.0])
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        raw = values.to(dtype).view(torch.uint8).numpy()
        name = str(dtype).removeprefix("torch.")
        assert decode_offset(raw, name).tolist() == values.to(dtype).float().tolist()


@pytest.mark.parametrize(("bits", "least", "limit"), [(0, 84, 88), (1, 54, 56), (16, 54, 56)])
def test_memory_of_a_thinking_token_at_k_10(bits, least, limit):
    steps = Steps(10, weight_bits=bits)
    weights = np.full(10, 0.1) if not bits else np.array([0.5, 0.5, *[0] * 8])
    row = np.arange(10, dtype=np.int32), weights.astype(np.float32)
    most = 0.0
    for _ in range(30_000):
        steps.append(*row, 0.5)
        if len(steps) >= 512:
            most = max(most, steps.nbytes / len(steps))
    assert least <= most <= limit, "the columns, and the room to grow"


def test_a_view_that_is_kept_does_not_stop_growth():
    steps = Steps(2)
    steps.append(np.array([1, 2]), np.array([0.5, 0.5]), 0.1)
    kept = steps.ids
    for _ in range(500):
        steps.append(np.array([3, 4]), np.array([0.5, 0.5]), 0.1)
    assert kept.tolist() == [[1, 2]] and len(steps) == 501


def broken(**changes) -> dict:
    return through_json(make(5).to_json()) | changes


W = make(5).to_json()["weights"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (broken(format=9), ["format", "9"]),
        (broken(start=4000), ["start", "4000", "[3, 7]"]),
        (broken(start=None), ["start is null", "5 steps"]),
        (broken(delimiter_match=8), ["delimiter_match", "[0, 7]", "8"]),
        (broken(tail_step=72, tail_reason="cold_stop"), ["tail_step", "[0, 71]", "72"]),
        (broken(tail_step=2), ["tail_reason", "cold_stop", "None"]),
        (broken(tail_reason="cold_stop"), ["tail_reason", "tail_step 0"]),
        (broken(thinking_finish_reason="tired"), ["thinking_finish_reason", "tired", "cold_stop"]),
        (broken(weights=[[1.0], *W[1:4], [float("nan")]]), ["weights[4][0]", "nan"]),
        (broken(weights=[[0.5], *W[1:]]), ["weights[0]", "sum to 1", "0.5"]),
        (broken(weights=[W[0], [0.0, 1.0], *W[2:]]), ["weights[1]", "used slots"]),
        (broken(weights=[W[0], [1.0], *W[2:]]), ["ids[1] and weights[1] differ"]),
        (broken(weights=W[:3]), ["weights has 3 steps", "5"]),
        (broken(weights=[["x"], *W[1:]]), ["weights[0]", "numbers"]),
        (broken(ids=[[100], *make(5).to_json()["ids"][1:]]), ["ids[0][0]", "[0, 99]", "100"]),
        (broken(ids=[[-1], *make(5).to_json()["ids"][1:]]), ["ids[0][0]", "-1"]),
        (broken(prompt_ids=[1, 2, 10**6]), ["prompt_ids[2]", "1000000"]),
        (broken(output_ids="abc"), ["output_ids"]),
        (broken(output_ids=[[1], [2]]), ["output_ids", "flat"]),
        (broken(entropy=[0.1, -1.0, 0.1, 0.1, 0.1]), ["entropy[1]", "-1"]),
        (broken(method_state=[float("inf")]), ["method_state", "inf"]),
        (broken(params=3), ["params", "object"]),
        (broken(params={"max_topk": 2}), ["max_topk", "4 slots"]),
        (broken(step=3), ["chunks are missing"]),
        (broken(embedding_offsets={"dtype": "float32", "data": "AAAA"}), ["embedding_offsets"]),
        ({}, ["format", "method"]),
        ([], ["object"]),
        (["x"], ["object"]),
        ({"trace": {}}, ["format"]),
    ],
    ids=lambda v: v[0] if isinstance(v, list) and v and isinstance(v[0], str) else "",
)
def test_a_broken_trace_is_refused_by_name(value, words):
    with pytest.raises(ValueError) as error:
        Trace.from_json(value)
    assert all(word in str(error.value) for word in words), error.value


def test_a_file_that_is_no_trace_is_refused(tmp_path):
    file = tmp_path / "thought.npz"
    with pytest.raises(FileNotFoundError):
        Trace.load(file)
    make(5).save(file)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"thought\.npz is not a trace file"):
        Trace.load(file)
    np.savez(file, ids=np.zeros(3))
    with pytest.raises(ValueError, match="not a trace file"):
        Trace.load(file)


def test_reading_a_trace_imports_neither_torch_nor_sglang():
    code = (
        "import sys, sglang_soft.trace; "
        "print([m for m in ('torch', 'sglang', 'triton', 'numba') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
