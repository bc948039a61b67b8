"""`Trace.edit`: what an edit changes, what it leaves, and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sglang_soft.trace import Steps, Trace
from tests.unit.test_trace import make, same

END = 99


def thought(ids, weights, *, tokens=None, end=(END,), reason="length", after=(), **more) -> Trace:
    """A thought of these steps after a prompt of 3 tokens and 1 output token; each emits the first
    of its ids unless `tokens` are given."""
    steps = Steps(max(map(len, ids)), extra=more.pop("extra", None))
    for at, (chosen, shares) in enumerate(zip(ids, weights, strict=True)):
        extra = {name: np.full(1, at, np.float32) for name in steps.extra}
        steps.append(np.array(chosen, np.int32), np.array(shares, np.float32), 0.1 * at, b"", extra)
    emitted = [chosen[0] for chosen in ids] if tokens is None else tokens
    return Trace(
        method="soft", steps=steps, start=4, prompt_ids=np.array([1, 2, 3], np.int32),
        output_ids=np.array([7, *emitted, *after], np.int32), thinking_finish_reason=reason,
        params={"max_topk": 3, "cold_stop_entropy": 0.15}, seed=5, model={"vocab_size": 100},
        tokenizer={"think_end_id": end if len(end) > 1 else end[0]}, **more,
    )  # fmt: skip


THREE = thought(
    [[10, 11, 12], [20, 21], [30]], [[0.5, 0.3, 0.2], [0.75, 0.25], [1.0]]
)  # fmt: skip
ENDED = thought(
    [[10, 11], [20, 21], [30, 31], [END]], [[0.5, 0.5], [0.75, 0.25], [0.5, 0.5], [1.0]],
    reason="stop_token", after=[50, 51],
)  # fmt: skip
MADE = {"method": "soft", "params": THREE.params, "seed": 5}


def step_of(trace: Trace, step: int) -> dict[int, float]:
    concept = trace.concept(step)
    return dict(zip(concept.ids.tolist(), concept.weights.tolist(), strict=True))


def test_a_candidate_is_removed_and_the_rest_follows_no_more():
    edited = THREE.edit.remove(0, 11)
    assert step_of(edited, 0) == pytest.approx({10: 0.5 / 0.7, 12: 0.2 / 0.7})
    assert edited.output_ids.tolist() == [7, 10] and len(edited.steps) == 1
    assert edited.thinking_finish_reason is None and edited.segments == [
        {"step": 0, "edited": True}
    ]
    assert step_of(THREE, 0) == pytest.approx({10: 0.5, 11: 0.3, 12: 0.2}), "a trace is a value"
    assert THREE.segments == [] and len(THREE.steps) == 3
    assert (edited.method, edited.params, edited.seed) == tuple(MADE.values())
    other = THREE.edit.remove(1, 20)
    assert step_of(other, 1) == {21: 1.0} and other.output_ids.tolist() == [7, 10, 21]
    assert other.segments == [{"step": 0, **MADE}, {"step": 1, "edited": True}]


def test_improbable_candidates_are_scaled_up():
    trace = thought([[10, 11, 12]], [[1.0, 3e-12, 1e-12]])
    assert step_of(trace.edit.remove(0, 10), 0) == pytest.approx({11: 0.75, 12: 0.25})


def test_what_stays_with_keep_rest():
    edited = ENDED.edit.remove(1, 20, keep_rest=True)
    assert edited.output_ids.tolist() == [7, 10, 21, 30, END, 50, 51]
    assert edited.thinking_finish_reason == "stop_token" and edited.thinking_tokens == 3
    assert edited.segments == [
        {"step": 0, **MADE}, {"step": 1, "edited": True}, {"step": 2, **MADE},
    ]  # fmt: skip
    for step in (0, 2, 3):
        assert step_of(edited, step) == step_of(ENDED, step)
    assert np.array_equal(edited.entropy, ENDED.entropy)
    again = edited.edit.sharpen(2, 0, keep_rest=True)
    marks = [(s["step"], bool(s.get("edited"))) for s in again.segments]
    assert marks == [(0, False), (1, True), (3, False)]


def test_weights_are_sharpened():
    sharp = THREE.edit.sharpen(0, 0.5)
    powers = np.array([0.25, 0.09, 0.04])
    assert np.allclose(sharp.weights[0], powers / powers.sum(), atol=1e-7)
    flat = THREE.edit.sharpen(0, 1e9)
    assert np.allclose(flat.weights[0], 1 / 3, atol=1e-7)
    assert np.array_equal(THREE.edit.sharpen(0, 1).weights[0], THREE.weights[0])
    for temperature in (0, 1e-300, 1e-4):
        assert step_of(THREE.edit.sharpen(0, temperature), 0) == {10: 1.0}
    drawn = thought([[10, 11]], [[0.75, 0.25]], tokens=[11])
    assert drawn.edit.sharpen(0, 0.5).output_ids.tolist() == [7, 11]
    assert drawn.edit.sharpen(0, 0).output_ids.tolist() == [7, 10], "11 weighs nothing"


def test_a_step_is_replaced():
    edited = THREE.edit.replace(1, [40, 41, 42, 43], [0.1, 0.0, 0.7, 0.2])
    assert step_of(edited, 1) == pytest.approx({42: 0.7, 43: 0.2, 40: 0.1})
    assert edited.concept(1).ids.tolist() == [42, 43, 40], "the largest first"
    assert edited.output_ids.tolist() == [7, 10, 42]
    assert edited.entropy[1] == THREE.entropy[1]
    wide = thought([[10]], [[1.0]]).edit.replace(0, [1, 2, 3, 4, 5], [0.2] * 5, token=60)
    assert wide.steps.k == 5 and wide.output_ids.tolist() == [7, 60]


def test_a_step_is_put_in():
    edited = THREE.edit.insert(2, [44, 45], [0.5, 0.5])
    assert len(edited.steps) == 3 and step_of(edited, 1) == step_of(THREE, 1)
    assert edited.entropy[2] == pytest.approx(np.log(2)) and edited.output_ids[-1] == 44
    assert edited.segments == [{"step": 0, **MADE}, {"step": 2, "edited": True}]
    assert THREE.edit.insert(0, [44]).entropy[0] == 0
    assert len(THREE.edit.insert(3, [44]).steps) == 4


def test_another_thought_is_spliced_in():
    other = ENDED.copy(prompt_ids=np.arange(9, dtype=np.int32), start=10)
    edited = THREE.edit.splice(1, other, 1, 3)
    assert [step_of(edited, step) for step in range(3)] == [
        step_of(THREE, 0), step_of(other, 1), step_of(other, 2),
    ]  # fmt: skip
    assert edited.output_ids.tolist() == [7, 10, 20, 30] and edited.start == 4
    assert edited.entropy.tolist() == [THREE.entropy[0], *other.entropy[1:3]]
    assert edited.segments == [{"step": 0, **MADE}, {"step": 1, "edited": True}]
    assert THREE.edit.cut(2).output_ids.tolist() == THREE.cut(2).output_ids.tolist()


def test_state_is_that_of_the_steps_that_are_left():
    trace = thought([[10]] * 4, [[1.0]] * 4, extra={"states": 1}, method_state=np.float32([3.0]))
    assert trace.edit.replace(2, [20]).method_state.tolist() == [2.0], "what the logits gave"
    assert trace.edit.insert(2, [20]).method_state.tolist() == [1.0], "no logits"
    assert trace.edit.splice(3, trace, 0, 2).method_state.tolist() == [2.0]
    assert trace.edit.insert(0, [20]).method_state.size == 0, "the method's first state"
    kept = trace.edit.replace(1, [20], keep_rest=True)
    assert kept.method_state.tolist() == [3.0]
    assert kept.steps.extra["states"][:, 0].tolist() == [0, 1, 2, 3]
    # Entropies are 0, .1, .2, .3, and the threshold .15.
    assert [trace.edit.replace(s, [20]).low_entropy_steps for s in range(4)] == [1, 2, 0, 0]


def test_columns_of_a_draw_mean_nothing_for_an_edited_step():
    trace = thought([[10, 11]] * 3, [[0.5, 0.5]] * 3, extra={"logprobs": 1, "drawn": 1})
    edited = trace.edit.remove(1, 10, keep_rest=True)
    assert edited.steps.extra["drawn"][:, 0].tolist() == [0, -1, 2]
    assert np.isnan(edited.steps.extra["logprobs"][1, 0]) and edited.validate() is None
    assert edited.steps.extra["logprobs"][2, 0] == 2


def test_a_forced_end_is_given_up_or_cannot_be_edited():
    trace = thought([[10], [60], [61], [END]], [[1.0]] * 4, reason="max_thinking_tokens")
    trace.params["closing_ids"] = [60, 61]
    assert trace.cut(2).tail_step == 1
    edited = trace.edit.replace(1, [20])
    assert edited.tail_step == 0 and edited.tail_reason is None
    with pytest.raises(ValueError, match="edit.replace: step 1 is a part of a forced end"):
        trace.edit.replace(1, [20], keep_rest=True)
    assert trace.edit.replace(0, [20], keep_rest=True).thinking_tokens == 3


def test_a_delimiter_is_matched_anew():
    trace = thought([[10], [20], [30]], [[1.0]] * 3, end=(20, 21, 22))
    edited = trace.edit.replace(2, [21])
    assert edited.delimiter_match == 2
    assert edited.edit.replace(1, [9], keep_rest=True).delimiter_match == 0
    with pytest.raises(ValueError, match=r"edit: step 3 would emit think-end \(\[20, 21, 22\]\)"):
        edited.edit.insert(3, [22])
    assert edited.edit.insert(3, [22], token=23).delimiter_match == 0, "it is fed, not emitted"
    with pytest.raises(ValueError, match="edit: step 2 would emit think-end"):
        thought([[20], [9], [22]], [[1.0]] * 3, end=(20, 21, 22)).edit.replace(
            1, [21], keep_rest=True
        )


@pytest.mark.parametrize("offsets", [None, "float32", "bfloat16"])
def test_an_edited_trace_comes_back_from_every_form(offsets, tmp_path):
    trace = make(9, offsets=offsets, bits=0 if offsets else 8)
    for edited in (
        trace.edit.remove(6, int(trace.ids[6, 0])),
        trace.edit.sharpen(3, 0.4, keep_rest=True),
        trace.edit.replace(5, [1, 2], [0.3, 0.7], keep_rest=True),
        trace.edit.splice(2, make(8, offsets=offsets), 3, 7),
    ):
        assert edited.steps.weight_bits == 0, "off the grid"
        assert same(Trace.from_json(json.loads(json.dumps(edited.to_json()))), edited)
        assert same(Trace.from_base64(edited.to_base64()), edited)
    same_offset = trace.edit.sharpen(3, 0.4)
    assert np.array_equal(same_offset.steps.offsets[3], trace.steps.offsets[3])
    replaced = trace.edit.replace(3, [1])
    assert not replaced.steps.offsets[3].any()
    assert np.array_equal(replaced.steps.offsets[:3], trace.steps.offsets[:3])


NEGATIVE = thought([[10, 11]], [[1.5, -0.5]])


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda: THREE.edit.remove(3, 10), r"edit.remove: step must be .* \[0, 2\]"),
        (lambda: THREE.edit.remove(-1, 10), "edit.remove: step must be"),
        (lambda: THREE.edit.remove(True, 10), "edit.remove: step must be"),
        (lambda: THREE.edit.remove(0, 13), r"token must be a candidate of step 0, one of \[10"),
        (lambda: THREE.edit.remove(2, 30), "edit.remove: step 2 must have other candidates"),
        (lambda: NEGATIVE.edit.remove(0, 10), "above 0; it is -0.5"),
        (lambda: NEGATIVE.edit.sharpen(0, 0.5), "edit.sharpen: step 0 must have weights, none"),
        (lambda: THREE.edit.sharpen(0, -1), "edit.sharpen: temperature must be"),
        (lambda: THREE.edit.sharpen(0, float("nan")), "edit.sharpen: temperature must be"),
        (lambda: THREE.edit.sharpen(0, float("inf")), "edit.sharpen: temperature must be"),
        (lambda: THREE.edit.replace(0, [100]), r"edit.replace: ids must be in \[0, 99\]"),
        (lambda: THREE.edit.replace(0, [1], token=-1), "edit.replace: token must be in"),
        (lambda: THREE.edit.replace(0, [1, 1], [0.5, 0.5]), "edit.replace: ids must differ"),
        (lambda: THREE.edit.replace(0, [1, 2], [0.5, 0.6]), "they sum to 1.1"),
        (lambda: THREE.edit.replace(0, [1, 2], [0.5, float("nan")]), "weights must sum to 1"),
        (lambda: THREE.edit.replace(0, [1, 2]), "one length"),
        (lambda: THREE.edit.replace(0, []), "ids and weights must have one length"),
        (lambda: THREE.edit.replace(0, [*range(65)], [1 / 65] * 65), r"in \[1, 64\]; got 65"),
        (lambda: THREE.edit.replace(0, [END]), "edit: step 0 would emit think-end"),
        (lambda: THREE.edit.insert(4, [1]), r"edit.insert: step must be .* \[0, 3\]"),
        (lambda: ENDED.edit.splice(0, THREE, 1, 4), r"first < stop <= 3"),
        (lambda: ENDED.edit.splice(0, THREE, 1, 1), "edit.splice: first and stop"),
        (
            lambda: THREE.edit.splice(0, ENDED.copy(model={"vocab_size": 200}), 0, 1),
            "edit.splice: the other trace: the trace is of another model: its vocab_size is 200",
        ),
        (
            lambda: make(5, offsets="float32").edit.splice(0, make(5, offsets="float16"), 0, 1),
            "edit.splice: embedding offsets must be alike",
        ),
        (
            lambda: make(0, reason=None).copy(start=None).edit.remove(0, 1),
            "edit.remove: the trace has no thought",
        ),
    ],
)
def test_what_is_refused(edit, said):
    with pytest.raises(ValueError, match=said):
        edit()


def test_the_method_of_an_edited_step_goes_on():
    other = {"method": "cot", "params": {"max_topk": 1}, "seed": 8}
    trace = replace(THREE, segments=[{"step": 0, **MADE}, {"step": 2, **other}], **other)
    assert trace.edit.remove(1, 20).method == "soft"
    edited = trace.edit.sharpen(2, 0.5)
    assert (edited.method, edited.params, edited.seed) == tuple(other.values())
    marks = [(s["step"], s.get("method")) for s in edited.segments]
    assert marks == [(0, "soft"), (2, None)]
    kept = trace.edit.remove(1, 20, keep_rest=True)
    marks = [(s["step"], s.get("method")) for s in kept.segments]
    assert marks == [(0, "soft"), (1, None), (2, "cot")] and kept.method == "cot"
