import numpy as np
import pytest

from sglang_soft.history import ConceptLog, concept_key, pack, unpack
from sglang_soft.request import Phase, SoftRequest, Step
from tests.soft_params import soft_params


def record(ids, weights, entropy=0.5) -> bytes:
    """Written out by hand, entry by entry."""
    entries = (int(i).to_bytes(3, "little") + np.float32(w).tobytes() for i, w in zip(ids, weights))
    return bytes((len(weights),)) + np.float32(entropy).tobytes() + b"".join(entries)


def random_record(rng, n) -> bytes:
    weights = rng.random(n).astype(np.float32)
    return record(rng.integers(0, 2**24, n), weights / weights.sum(), rng.random())


def request(**changes) -> SoftRequest:
    return SoftRequest(soft_params(**changes))


def test_records_come_back_bit_for_bit():
    ids, weights = [2**24 - 1, 0, 151935], np.asarray([0.7, 0.2, 0.1], np.float32)
    concept = unpack(record(ids, weights, 1.25))
    assert concept.ids.tolist() == ids
    assert (concept.weights == weights).all()
    assert concept.entropy == np.float32(1.25)


@pytest.mark.parametrize("K", [1, 10, 64])
def test_steps_are_packed_into_records_of_what_is_in_use(K):
    rng = np.random.default_rng(K)
    ids = rng.integers(0, 2**24, (7, K), dtype=np.int32)
    weights, entropy = rng.random((7, K), dtype=np.float32), rng.random(7, dtype=np.float32)
    used = [0, 1, K, (K + 1) // 2, K, 1, K]
    for row, n in enumerate(used):
        weights[row, n:] = 0
    wide = np.concatenate([ids, ids], 1)[:, :K]  # columns of a larger array, as the record has them
    expected = [record(ids[row, :n], weights[row, :n], entropy[row]) for row, n in enumerate(used)]
    assert pack(wide, weights, entropy) == expected


@pytest.mark.parametrize("count", [0, 1, 63, 1000])
def test_log_returns_any_range(count):
    rng = np.random.default_rng(count)
    records = [random_record(rng, n) for n in rng.integers(1, 11, count)]
    log = ConceptLog()
    for r in records:
        log.append(r)
    assert len(log) == count and list(log.records()) == records
    for start, stop in rng.integers(0, count + 2, (20, 2)):
        assert list(log.records(start, stop)) == records[start:stop]


def test_host_memory_is_at_most_80_bytes_a_thinking_token_at_k_10():
    log = ConceptLog()
    rng = np.random.default_rng(0)
    for _ in range(4096):
        log.append(random_record(rng, 10))
    assert log.nbytes / len(log) <= 80


def test_keys_name_content_and_are_no_token_ids():
    a, b = record([1, 2], [0.6, 0.4]), record([1, 2], [0.4, 0.6])
    assert concept_key(a) == concept_key(record([1, 2], [0.6, 0.4], entropy=2.0)) != concept_key(b)
    assert all(2**62 <= concept_key(r) < 2**63 for r in (a, b))


def test_one_token_of_weight_one_has_the_tokens_own_name():
    assert concept_key(record([70000], [1.0])) == 70000
    assert concept_key(record([7, 9], [0.5, 0.5])) >= 2**62
    assert concept_key(record([7], [0.5])) >= 2**62
    assert concept_key(record([7], [1.0]), b"vector") >= 2**62
    assert concept_key(record([], []), b"vector") != concept_key(record([], []), b"other")


def test_names_cover_concepts_only_and_thinking_tokens_do_not_count_think_end():
    from array import array

    soft = request()
    for i in range(3):
        soft.commit(5, Step.CONCEPT, record([5, i], [0.5, 0.5]), 0.5, 0)
    soft.commit(8, Step.THINK_END, record([8], [1.0]), 0.1, 0)
    soft.commit(9, Step.PLAIN, b"", 0.0, 0)
    fill = array("q", [1, 2, 5, 5, 5, 8, 9])
    soft.name(fill, 2, "rid")
    assert [v >= 2**62 for v in fill] == [False, False, True, True, True, False, False]
    assert (
        soft.thinking_tokens == 3 and soft.how_ended == "think_end" and soft.phase == Phase.ANSWER
    )
    summary = soft.summary(5, {"type": "stop"})
    assert summary["thinking_tokens"] == 3 and summary["answer_tokens"] == 1


def test_names_of_fed_vectors_and_the_state_behind_them():
    from array import array

    def name_of(vector: bytes) -> int:
        soft = request(method="soft_noise")
        soft.commit(5, Step.CONCEPT, record([5, 6], [0.5, 0.5]), 0.5, 0, (), vector)
        fill = array("q", [1, 5])
        soft.name(fill, 1, "rid")
        assert [v for _, v in soft.concepts(range(1))] == [vector]
        return fill[1]

    assert name_of(b"one") == name_of(b"one") != name_of(b"two")
    switching = request(method="swireasoning")
    assert switching.method_state == (1.0, 0.0, 0.0, 0.0, 0.0)
    switching.commit(5, Step.CONCEPT, record([5], [1.0]), 0.5, 0, (0.0, 2.5, 1.0, 1.0, 1.0, 9.0))
    assert switching.method_state == (0.0, 2.5, 1.0, 1.0, 1.0)


def test_a_token_that_may_be_a_concept_is_named_by_nothing_else_until_it_is_known():
    from array import array

    soft = request()
    soft.commit(5, Step.CONCEPT, record([5, 6], [0.5, 0.5]), 0.5, 0)
    fill = array("q", [1, 5, 6])
    soft.name(fill, 1, "a")
    known, unknown = fill[1], fill[2]
    assert known == concept_key(record([5, 6], [0.5, 0.5])) and unknown >= 2**62
    other = array("q", [1, 5, 6])
    soft.named = 0
    soft.name(other, 1, "b")
    assert other[1] == known and other[2] != unknown
    soft.commit(6, Step.CONCEPT, record([6], [1.0]), 0.5, 0)
    soft.name(fill, 1, "a")
    assert fill[2] == concept_key(record([6], [1.0]))


def test_thinking_that_starts_at_think_start_begins_behind_it():
    soft = request(starts_thinking=False)
    soft.commit(3, Step.PLAIN, b"", 0.0, 0)
    soft.commit(7, Step.PLAIN, b"", 0.0, 0)
    assert soft.phase == Phase.THINK
    soft.commit(4, Step.CONCEPT, record([4], [1.0]), 0.5, 0)
    assert list(soft.named_by_concept(0, 10)) == [2]


@pytest.mark.parametrize(
    ("finish", "how"), [("length", "length"), ("abort", "abort"), ("stop", "stop")]
)
def test_a_request_that_ends_while_thinking_says_how(finish, how):
    soft = request()
    soft.commit(5, Step.CONCEPT, record([5], [1.0]), 0.5, 0)
    assert soft.summary(1, {"type": finish})["how_ended"] == how


def test_a_request_that_never_thinks():
    soft = request(starts_thinking=False)
    soft.commit(3, Step.PLAIN, b"", 0.0, 0)
    summary = soft.summary(1, {"type": "stop"})
    assert (
        summary["how_ended"] is None
        and summary["thinking_tokens"] == 0
        and summary["answer_tokens"] == 1
    )
    assert summary["mean_entropy"] is None
