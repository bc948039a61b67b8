"""The host's record of a soft request: trace, phase, cache keys, what the client has seen."""

from array import array

import numpy as np
import pytest
from sglang_soft_kernels.layout import Phase, StepKind, tail_state

from sglang_soft.engine.cache_keys import cache_key, unmatchable_cache_key
from sglang_soft.engine.request import SoftRequest, ThinkingState
from sglang_soft.params import Given
from sglang_soft.trace import Trace
from tests.unit.soft_request import PROMPT, request_params, soft_request

NO_STATE = np.zeros(0, np.float32)


def key(ids, weights, offset: bytes = b"") -> int:
    return cache_key(np.array(ids, np.int32), np.array(weights, np.float32), offset)


def think(
    soft: SoftRequest, ids=(5, 6), weights=(0.5, 0.5), *, kind=StepKind.CONCEPT, entropy=0.5,
    low_entropy=0, state=NO_STATE, offset=b"", tail=0,
) -> None:  # fmt: skip
    """Commit one thinking step, with the unused slots that a batch has."""
    row = np.zeros(32, np.int32), np.zeros(32, np.float32)
    row[0][:] = ids[0]
    row[0][: len(ids)], row[1][: len(weights)] = ids, weights
    soft.commit(ids[0], kind, *row, entropy, low_entropy, state, offset, tail)
    soft.check()


def plain(soft: SoftRequest, token: int) -> None:
    soft.commit(
        token, StepKind.PLAIN, np.zeros(1, np.int32), np.zeros(1, np.float32), 0.0, 0, NO_STATE
    )
    soft.check()


def named(soft: SoftRequest, output: list[int], rid: str = "rid") -> list[int]:
    """What stands at the output positions once SGLang's fill ids were built anew."""
    fill = array("q", [1, 2, *output])
    soft.rewrite_cache_keys()
    soft.write_cache_keys(fill, rid)
    assert fill[:PROMPT].tolist() == [1, 2]
    return fill[PROMPT:].tolist()


def test_keys_hash_content_and_are_no_token_ids():
    a, b = key([1, 2], [0.6, 0.4]), key([1, 2], [0.4, 0.6])
    assert a == key([1, 2], [0.6, 0.4]) != b
    assert all(2**62 <= k < 2**63 for k in (a, b))


def test_one_token_of_weight_one_has_the_tokens_own_id():
    assert key([70000], [1.0]) == 70000
    assert all(k >= 2**62 for k in (key([7, 9], [0.5, 0.5]), key([7], [0.5]), key([7], [1], b"v")))
    assert key([], [], b"vector") != key([], [], b"other")


def test_keys_stand_at_concepts_only_and_think_end_is_no_concept():
    soft = soft_request()
    for i in range(3):
        think(soft, (5, 100 + i))
    think(soft, (8,), (1.0,), kind=StepKind.STOP_TOKEN)
    plain(soft, 9)
    keys = named(soft, [5, 5, 5, 8, 9])
    assert keys == [*(key([5, 100 + i], [0.5, 0.5]) for i in range(3)), 8, 9]
    assert soft.trace.thinking_tokens == 3 and soft.phase == Phase.ANSWER
    soft.finish([1, 2], [5, 5, 5, 8, 9], "stop")
    summary = soft.summary()
    assert summary["thinking_tokens"] == 3 and summary["answer_tokens"] == 1
    assert summary["thinking_finish_reason"] == "stop_token"


def test_keys_are_written_once_as_the_output_grows_and_again_after_a_rebuild():
    soft = soft_request()
    fill = array("q", [1, 2])
    for i in range(5):
        think(soft, (5, 100 + i))
        fill.append(5)
        soft.write_cache_keys(fill, "rid")
    assert fill[2:].tolist() == named(soft, [5] * 5)


def test_keys_of_embedding_offsets_and_the_state_after_them():
    def offset_key(offset: bytes) -> int:
        soft = soft_request("soft_noise")
        soft.trace.steps.use_offsets(4, "float32")
        think(soft, offset=offset)
        assert soft.trace.steps.offsets[0].tobytes() == offset
        return named(soft, [5])[0]

    assert offset_key(b"once") == offset_key(b"once") != offset_key(b"more")
    switching = soft_request("swireasoning")
    assert switching.state.method_state.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    state = np.array([0.0, 2.5, 1.0, 1.0, 1.0, 9.0], np.float32)
    think(switching, (5,), (1.0,), state=state)
    state[:] = 7  # the batch's record is not kept
    assert switching.state.method_state.tolist() == [0.0, 2.5, 1.0, 1.0, 1.0]


def test_a_step_whose_concept_is_not_known_yet_gets_a_key_that_nothing_matches():
    soft = soft_request()
    think(soft, (5, 6))
    known, unknown = named(soft, [5, 6], "a")
    assert known == key([5, 6], [0.5, 0.5]) and unknown == unmatchable_cache_key("a", 3) >= 2**62
    other = named(soft, [5, 6], "b")
    assert other[0] == known and other[1] != unknown
    think(soft, (6,), (1.0,))
    assert named(soft, [5, 6], "a")[1] == 6


def test_thinking_that_starts_at_think_start_begins_after_it():
    soft = soft_request(starts_thinking=False)
    plain(soft, 3)
    assert soft.phase == Phase.WAIT
    plain(soft, 7)
    assert soft.phase == Phase.THINK and soft.trace.start == PROMPT + 2
    think(soft, (4,), (1.0,))
    assert list(soft.trace.concept_positions(0, 10)) == [PROMPT + 2]


@pytest.mark.parametrize(
    "reason", ["length", "abort", "stop", "stop_string", "stop_regex", "stop_token_id", "stop_eos"]
)
def test_a_request_that_ends_while_thinking_says_how(reason):
    soft = soft_request()
    think(soft)
    soft.finish([1, 2], [5], reason)
    assert soft.summary()["thinking_finish_reason"] == reason
    soft.trace.validate()
    assert soft.trace.thinking_tokens == 1


def test_a_request_that_never_thinks():
    soft = soft_request(starts_thinking=False)
    plain(soft, 3)
    soft.finish([1, 2], [3], "stop")
    summary = soft.summary()
    assert summary["thinking_finish_reason"] is None and summary["mean_entropy"] is None
    assert summary["thinking_tokens"] == 0 and summary["answer_tokens"] == 1
    soft.trace.validate()


def test_retractions_are_counted_by_phase():
    soft = soft_request(starts_thinking=False)
    soft.count_retractions(1)
    plain(soft, 7)
    soft.count_retractions(1)
    soft.count_retractions(3)
    think(soft, (8,), (1.0,), kind=StepKind.COLD_STOP)
    soft.count_retractions(4)
    soft.finish([1, 2], [7, 8], "stop")
    assert soft.summary()["retractions"] == {"before": 1, "thinking": 2, "answering": 1}


def test_the_state_of_a_row_comes_from_the_trace_alone():
    soft = soft_request(starts_thinking=False)
    assert soft.state[:3] == (Phase.WAIT, 0, 0)
    plain(soft, 7)
    think(soft, low_entropy=1)
    think(soft, low_entropy=2)
    assert soft.state[:3] == ThinkingState.of(soft.trace)[:3] == (Phase.THINK, 2, 2)
    think(soft, (8,), (1.0,), kind=StepKind.COLD_STOP, low_entropy=3)
    assert soft.state[:3] == (Phase.ANSWER, 3, 2)


def test_delimiters_of_several_tokens():
    soft = soft_request(think_start=(7, 7, 3), think_end=(8, 8, 9), starts_thinking=False)
    for token, match in ((7, 1), (7, 2), (7, 2)):
        plain(soft, token)
        assert (soft.phase, soft.state.match) == (Phase.WAIT, match)
    plain(soft, 3)
    assert (soft.phase, soft.trace.start, soft.state.match) == (Phase.THINK, PROMPT + 4, 0)
    for token, match in ((8, 1), (8, 2), (8, 2), (5, 0), (8, 1)):
        think(soft, (token, 4))
        assert soft.state.match == match == ThinkingState.of(soft.trace).match
    think(soft, (8,), (1.0,))
    think(soft, (9,), (1.0,), kind=StepKind.STOP_TOKEN)
    assert (soft.phase, soft.state.match) == (Phase.ANSWER, 0)
    assert soft.trace.ids[-1, 0] == 9 and soft.trace.thinking_tokens == 6


def test_a_forced_end_is_resumed_from_the_trace():
    soft = soft_request("soft_noise", think_end=(8, 9), closing=(4, 4))
    soft.trace.steps.use_offsets(4, "float32")
    think(soft, offset=b"once")
    begun = tail_state(1, StepKind.COLD_STOP)
    think(soft, (4,), (1.0,), kind=StepKind.CLOSING, tail=begun, offset=b"none")
    assert soft.state.tail == begun and soft.trace.tail_reason == "cold_stop"
    assert not soft.trace.steps.offsets[1].any(), "what is forced has no offset"
    soft.finish([1, 2], [5, 4], "length")
    again = Trace.from_json(soft.trace.to_json())
    assert ThinkingState.of(again)[4:6] == (0, begun)
    soft.trace.thinking_finish_reason = None
    think(soft, (8,), (1.0,), kind=StepKind.CLOSING, tail=tail_state(3, StepKind.COLD_STOP))
    assert soft.state.match == 1
    think(soft, (9,), (1.0,), kind=StepKind.COLD_STOP)
    assert soft.state[4:] == (0, 0, 9) and soft.trace.thinking_finish_reason == "cold_stop"


def test_a_delta_holds_what_is_new():
    soft = soft_request()
    think(soft, (5, 6))
    first = soft.take_delta()
    assert (first.start, first.step, first.steps) == (PROMPT, 0, 1)
    think(soft, (9,), (1.0,))
    think(soft, (4,), (1.0,))
    assert (soft.take_delta().step, soft.take_delta().steps) == (1, 0)


def test_a_trace_on_a_grid_goes_on_with_a_finer_one():
    first = soft_request(weight_bits=2)
    think(first, weights=(0.75, 0.25))
    given = Given(PROMPT, first.trace.steps.delta(0, PROMPT), weight_bits=2)
    request = SoftRequest(request_params(weight_bits=8, given=given), PROMPT + 1)
    think(request, weights=(129 / 256, 127 / 256))
    assert request.trace.weights[:, :2].tolist() == [[0.75, 0.25], [129 / 256, 127 / 256]]
