"""The comparison of an engine's trace with the oracle's, with wrong data."""

import math
from dataclasses import replace

import pytest

from tests.oracle import Observed, TraceMismatch, compare
from tests.oracle.scripted import ANSWER, END, EOS, FINISH, STOP, TWO, ask


@pytest.fixture(scope="module")
def pair():
    trace, _ = ask(TWO, {2: 0.5, 3: 0.3, 4: 0.2}, TWO, FINISH, ANSWER, STOP, max_new_tokens=9)
    return trace, Observed.of(trace)


def concept(observed: Observed, index: int, **changes) -> Observed:
    concepts = list(observed.concepts)
    concepts[index] = concepts[index]._replace(**changes)
    return replace(observed, concepts=concepts)


def test_equal_traces_compare_equal(pair):
    trace, observed = pair
    assert compare(observed, trace) is None
    assert compare(replace(observed, finish=None), trace) is None
    assert compare(replace(observed, concepts=[tuple(c) for c in observed.concepts]), trace) is None


def test_unused_slots_and_rounding_are_ignored(pair):
    trace, observed = pair
    assert (
        compare(
            concept(observed, 0, ids=[2, 3, 2, 2], weights=[0.750004, 0.249996, 0.0, 0.0]), trace
        )
        is None
    )
    assert compare(concept(observed, 0, entropy=observed.concepts[0].entropy + 4e-6), trace) is None


@pytest.mark.parametrize(
    ("change", "position", "words"),
    [
        (lambda o: concept(o, 1, ids=[3, 2, 4]), 1, "ids differ"),
        (lambda o: concept(o, 1, ids=[2, 4, 3]), 1, "ids differ"),
        (lambda o: concept(o, 1, ids=[2, 3], weights=[0.625, 0.375]), 1, "ids differ"),
        (lambda o: concept(o, 1, weights=[0.5, 0.30002, 0.2]), 1, "weight of slot 1"),
        (lambda o: concept(o, 1, weights=[0.5, math.nan, 0.2]), 1, "weight of slot 1"),
        (lambda o: concept(o, 1, weights=[0.5, 0.3]), 1, "3 ids but 2 weights"),
        (lambda o: concept(o, 2, entropy=o.concepts[2].entropy + 2e-5), 2, "entropy"),
        (lambda o: concept(o, 2, entropy=math.nan), 2, "entropy"),
        (lambda o: concept(o, 3, ids=[2]), 3, "ids differ"),
        (lambda o: replace(o, concepts=o.concepts[1:]), 0, "entropy|ids differ"),
        (lambda o: replace(o, concepts=o.concepts[:-1]), 3, "missing in the engine"),
        (lambda o: replace(o, concepts=[*o.concepts, o.concepts[0]]), 4, "missing in the oracle"),
        (lambda o: replace(o, concepts=[]), 0, "missing in the engine"),
        (lambda o: replace(o, output_ids=[2, 2, 2, END, 4, EOS]), 4, "token: engine 4, oracle 5"),
        (lambda o: replace(o, output_ids=o.output_ids[:-1]), 5, "token: engine None, oracle 7"),
        (lambda o: replace(o, output_ids=[*o.output_ids, 2]), 6, "token: engine 2, oracle None"),
        (lambda o: replace(o, thinking_tokens=4), None, "thinking_tokens: engine 4, oracle 3"),
        (
            lambda o: replace(o, ended="cold_stop"),
            None,
            "ended: engine 'cold_stop', oracle 'stop_token'",
        ),
        (lambda o: replace(o, finish="length"), None, "finish: engine 'length', oracle 'stop'"),
    ],
)
def test_wrong_data_is_detected(pair, change, position, words):
    trace, observed = pair
    with pytest.raises(TraceMismatch, match=words) as caught:
        compare(change(observed), trace)
    assert caught.value.position == position
    assert not caught.value.tie


def test_concepts_of_a_request_that_never_thinks_are_detected(pair):
    trace, _ = ask(ANSWER, prompt=[1])
    with pytest.raises(TraceMismatch, match="the oracle does not"):
        compare(replace(Observed.of(trace), concepts=pair[1].concepts), trace)


def test_a_tie_is_a_mismatch_that_says_so():
    trace, _ = ask({2: 0.500001, 3: 0.499999}, max_new_tokens=1)
    wrong = replace(concept(Observed.of(trace), 0, ids=[3, 2]), output_ids=[3])
    with pytest.raises(TraceMismatch, match="a tie") as caught:
        compare(wrong, trace)
    assert caught.value.tie
    with pytest.raises(TraceMismatch, match="a true mismatch") as caught:
        compare(wrong, trace, tie=1e-7)
    assert not caught.value.tie


def test_the_message_shows_both_sides_and_the_margins(pair):
    trace, observed = pair
    with pytest.raises(TraceMismatch) as caught:
        compare(concept(observed, 1, ids=[9, 3, 4]), trace)
    for words in (
        "output position 1 of 6",
        "engine: token 2",
        "oracle: token 2",
        "[9, 3, 4]",
        "[2, 3, 4]",
        "argmax",
        "order",
    ):
        assert words in str(caught.value)


# --- what the other methods add
# -----------------------------------------------------------------------------

FLAT = {2: 0.25, 3: 0.25, 4: 0.25, 6: 0.25}
SELAR = {"method": "selar", "seed": 1, "selar_threshold": 0.5, "max_topk": 4, "max_new_tokens": 1}
SELAR |= {"selar_contrast": 1.0, "selar_alone": "none", "selar_token": "top"}


def test_wrong_negative_weights_and_ids_are_detected():
    trace, _ = ask(FLAT, **SELAR)
    right = Observed.of(trace)
    assert right.concepts[0].weights[-1] == pytest.approx(-0.5) and right.output_ids == [2]
    assert compare(right, trace) is None
    ids, weights = [3, 4, 6, 2], list(right.concepts[0].weights)
    for changes, words in (
        ({"weights": [*weights[:-1], 0.5]}, "weight of slot 3"),
        ({"weights": [*weights[:-1], 0.0]}, "ids differ"),
        ({"weights": [weights[0], weights[1] + 2e-5, *weights[2:]]}, "weight of slot 1"),
        ({"ids": [3, 4, 5, 2]}, "ids differ"),
        ({"ids": [ids[-1], *ids[:-1]], "weights": [weights[-1], *weights[:-1]]}, "ids differ"),
    ):
        with pytest.raises(TraceMismatch, match=words):
            compare(concept(right, 0, **changes), trace)


def test_a_concept_without_slots():
    """coconut_tf: nothing but the output token and the entropy can be compared."""
    trace, _ = ask(TWO, method="coconut_tf", max_new_tokens=2)
    right = Observed.of(trace)
    assert compare(right, trace) is None
    assert compare(concept(right, 1, ids=[5], weights=[0.0]), trace) is None
    with pytest.raises(TraceMismatch, match="ids differ"):
        compare(concept(right, 1, ids=[2], weights=[1.0]), trace)


def test_weights_too_small_for_float32_are_unused_slots(pair):
    trace, observed = pair
    assert compare(concept(observed, 0, ids=[2, 3, 5], weights=[0.75, 0.25, 1e-39]), trace) is None
    with pytest.raises(TraceMismatch, match="ids differ"):
        compare(concept(observed, 0, ids=[2, 3, 5], weights=[0.75, 0.25, 1e-37]), trace)


def test_another_token_drawn_is_a_mismatch_and_at_a_boundary_a_tie():
    """The margins are the draw's: a near tie of the two largest logits means nothing to a draw far
    from it."""
    probs = {2: 0.400001, 3: 0.399999, 4: 0.2}
    cot = {"method": "cot", "max_new_tokens": 1, "top_k": 3}
    seeds = {ask(probs, seed=s, **cot)[0].output_ids[0]: s for s in range(40)}
    trace, _ = ask(probs, seed=seeds[4], **cot)
    wrong = replace(concept(Observed.of(trace), 0, ids=[2]), output_ids=[2])
    with pytest.raises(TraceMismatch, match="draw") as caught:
        compare(wrong, trace)
    assert not caught.value.tie
    with pytest.raises(TraceMismatch) as caught:
        compare(wrong, trace, tie=trace.steps[0].margins["draw"] * 1.01)
    assert caught.value.tie
