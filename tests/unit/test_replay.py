"""The embedding inputs of a prefill: what retracted requests replay, and decode rows of a mixed
chunk."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sglang_soft_kernels.layout import StepKind

from sglang_soft import resolve
from sglang_soft.engine.inputs import prepare
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.replay import Span, readings, replay
from sglang_soft.engine.request import SoftRequest
from sglang_soft.params import Given
from tests.unit.soft_request import PROMPT, request_params, soft_request

HIDDEN = 4


def thought(pool: ConceptPool, method: str = "soft", steps: int = 5, row: int = 1) -> SoftRequest:
    """A request whose step i mixed tokens 10 i and 10 i + 1."""
    request = soft_request(method, max_topk=3)
    pool.start([row], [request])
    for i in range(steps):
        ids = np.array([10 * i, 10 * i + 1, 0], np.int32)
        weights = np.array([0.75, 0.25, 0], np.float32)
        offset = np.full(HIDDEN, i, np.float32).tobytes() if request.method.feeds_offset else b""
        request.commit(
            int(ids[0]), StepKind.CONCEPT, ids, weights, 0.1, 0, np.zeros(0, np.float32), offset
        )
    return request


@pytest.fixture
def pool() -> ConceptPool:
    return ConceptPool(8, 6, "cpu", hidden_size=HIDDEN)


def test_a_prefill_of_prompts_needs_no_inputs(pool):
    spans = [Span(None, 0, 5, False), Span(soft_request(), 0, PROMPT, False)]
    assert replay(pool, spans, torch.tensor([1, 2])) is None


@pytest.mark.parametrize(
    ("prefix", "length", "steps"), [(0, 7, range(5)), (4, 3, range(2, 5)), (1, 3, range(2))]
)
def test_any_chunk_replays_its_own_steps(pool, prefix, length, steps):
    request = thought(pool)
    pool.with_offsets()  # as where graphs are captured: a table that this request does not use
    spans = [Span(None, 3, 4, False), Span(request, prefix, length, False)]
    inputs = replay(pool, spans, torch.tensor([2, 1]))
    fed = inputs.rows.tolist()
    assert fed[:4] == [0] * 4 and len(fed) == 4 + length and inputs.offsets is None
    first = 4 + max(PROMPT - prefix, 0)
    assert fed[4:first] == [0] * (first - 4)
    for row, step in zip(fed[first:], steps, strict=True):
        assert inputs.ids[row, :2].tolist() == [10 * step, 10 * step + 1]
        assert inputs.weights[row].tolist() == [0.75, 0.25, 0]
    assert not inputs.weights[0].any()


def test_offsets_are_replayed_and_only_where_a_method_feeds_them(pool):
    plain, offsets = thought(pool), thought(pool, "soft_noise", row=2)
    spans = [Span(plain, 0, 7, False), Span(offsets, 0, 7, False)]
    inputs = replay(pool, spans, torch.tensor([1, 2]))
    has = inputs.has_offset[inputs.rows].tolist()
    assert has == [False] * 9 + [True] * 5
    assert inputs.offsets[inputs.rows][9:, 0].tolist() == [0, 1, 2, 3, 4]


def test_decode_rows_of_a_mixed_chunk_read_the_pool(pool):
    retracted, decoding = thought(pool), thought(pool, row=5)
    pool.ids[5, 0], pool.weights[5, 0] = 77, 1.0
    spans = [Span(retracted, 4, 3, False), Span(decoding, 99, 1, True), Span(None, 0, 2, False)]
    inputs = replay(pool, spans, torch.tensor([1, 5, 3]))
    row = inputs.rows.tolist()[3]
    assert inputs.ids[row, 0] == 77 and inputs.weights[row, 0] == 1
    assert inputs.rows.tolist()[4:] == [0, 0]


def test_a_discrete_request_cleans_the_row_it_gets(pool):
    thought(pool, row=4)
    pool.weights[4, 0] = 1.0
    assert pool.dirty == {4}
    with pytest.raises(AssertionError):
        pool.dirty.clear()
        pool.check_integrity([4])
    pool.dirty.add(4)
    pool.start([4], [None])
    assert not pool.dirty and not pool.weights[4].any()
    pool.check_integrity([1, 4])


@pytest.mark.parametrize("method", ["soft", "soft_noise"])
@pytest.mark.parametrize("cuts", [(0, 7), (0, 3, 4, 7), (0, 1, 6, 7)])
def test_a_reader_of_a_trace_is_fed_it_and_gets_its_logits(pool, method, cuts):
    """Positions 3 to 6 of a prompt that ends with 5 concept tokens, in one prefill or in chunks."""
    trace = thought(pool, method).trace
    encoded = request_params(
        method,
        max_topk=3,
        only_answers=True,
        reads_from=3,
        given=Given(PROMPT, trace.steps.delta(0, trace.start)),
    ).encode()
    request = SoftRequest(resolve.decode(encoded, max_k=32, vocab_size=100), PROMPT + 5)
    pool.start([2], [request])
    assert not prepare(pool, torch.tensor([2]), [request]).requests, "it takes no thinking step"
    of_position = np.arange(7, dtype=np.float32)[:, None]
    for prefix, stop in pairwise(cuts):
        spans = [Span(None, 0, 4, False), Span(request, prefix, stop - prefix, False)]
        inputs, wanted = replay(pool, spans, torch.tensor([3, 2])), range(PROMPT, 7)
        fed = [] if inputs is None else inputs.ids[inputs.rows[4:], 0].tolist()
        assert [i for i in fed if i] == [
            10 * (p - 2) for p in wanted if p > 2 and prefix <= p < stop
        ]
        flat = np.concatenate([np.full((4, 1), -1.0, np.float32), of_position[prefix:stop]])
        for reading, position, tokens in readings(spans):
            reading.put(position, np.repeat(flat[tokens], 9, 1), np.repeat(flat[tokens], HIDDEN, 1))
    assert request.reading is not None
    assert request.reading.logits[:, 0].tolist() == [3, 4, 5, 6]
    assert request.reading.hidden.shape == (4, HIDDEN)
    request.check()
    names = np.zeros(7, np.int64)
    request.write_cache_keys(names, "rid")
    assert (names[:PROMPT] == 0).all() and (names[PROMPT:] >= 1 << 62).all()
