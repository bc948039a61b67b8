"""The oracle is tested too: one step by hand, whole requests of scripted logits, penalties,
independence."""

import ast
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.models import tiny
from tests.oracle import Request, loop, thinking_step
from tests.oracle.scripted import ANSWER, END, EOS, FINISH, START, STOP, SURE, TWO, ask
from tests.oracle.steps import argmax, margins

ALL = {"top_k": -1, "top_p": 1.0, "min_p": 0.0, "max_topk": 10, "temperature": 1.0}


def log(*probs: float) -> torch.Tensor:
    return torch.tensor(probs).log()


def step(logits: torch.Tensor, **changes):
    return thinking_step(logits, **(ALL | changes))


# --- one step, by hand
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "ids", "weights"),
    [
        ({}, [1, 0, 2, 3], [1 / 2, 1 / 4, 1 / 8, 1 / 8]),
        ({"top_k": 3}, [1, 0, 2], [4 / 7, 2 / 7, 1 / 7]),
        ({"top_k": 4}, [1, 0, 2, 3], [1 / 2, 1 / 4, 1 / 8, 1 / 8]),
        ({"max_topk": 2}, [1, 0], [2 / 3, 1 / 3]),
        ({"max_topk": 1}, [1], [1]),
        ({"top_p": 0.49}, [1], [1]),
        ({"top_p": 0.51}, [1, 0], [2 / 3, 1 / 3]),
        ({"top_p": 0.5}, [1, 0], [2 / 3, 1 / 3]),  # the mass before an entry may equal top_p
        (
            {"top_k": 3, "top_p": 0.53},
            [1],
            [1],
        ),  # 4/7 > 0.53: top-p after the renormalisation of top-k
        ({"min_p": 0.5}, [1, 0], [2 / 3, 1 / 3]),
        ({"min_p": 0.51}, [1], [1]),
        ({"min_p": 0.25}, [1, 0, 2, 3], [1 / 2, 1 / 4, 1 / 8, 1 / 8]),
        ({"temperature": 0.5}, [1, 0, 2, 3], [16 / 22, 4 / 22, 1 / 22, 1 / 22]),
        ({"temperature": 0.5, "top_p": 0.73}, [1, 0], [16 / 20, 4 / 20]),
    ],
)
def test_filter_by_hand(changes, ids, weights):
    found = step(log(1 / 4, 1 / 2, 1 / 8, 1 / 8), **changes)
    assert found.ids == ids
    assert found.weights == pytest.approx(weights, abs=1e-6)


def test_entropy_by_hand_is_over_the_whole_vocabulary_after_temperature():
    logits = log(1 / 4, 1 / 2, 1 / 8, 1 / 8)
    assert step(logits, max_topk=1, top_k=1).entropy == pytest.approx(1.75 * math.log(2), abs=1e-6)
    p = [16 / 22, 4 / 22, 1 / 22, 1 / 22]
    assert step(logits, temperature=0.5).entropy == pytest.approx(
        -sum(x * math.log(x) for x in p), abs=1e-6
    )


def test_masked_words_have_no_entropy_and_no_slot():
    found = step(torch.tensor([0.0, -math.inf, 0.0]), max_topk=3, min_p=0.001)
    assert (found.ids, found.weights) == ([0, 2], [0.5, 0.5])
    assert found.entropy == pytest.approx(math.log(2), abs=1e-6)


def test_of_equal_words_the_smaller_id_comes_first():
    logits = torch.zeros(300)
    assert step(logits, max_topk=4).ids == [0, 1, 2, 3]
    assert step(logits, temperature=0.0).ids == [0]
    assert argmax(torch.tensor([1.0, 3.0, 3.0])) == 1


def test_temperature_zero_is_one_hot_with_the_entropy_at_temperature_one():
    found = step(log(1 / 4, 1 / 2, 1 / 8, 1 / 8), temperature=0.0, top_k=30, max_topk=5)
    assert (found.ids, found.weights) == ([1], [1.0])
    assert found.entropy == pytest.approx(1.75 * math.log(2), abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_filter_against_loops_in_python(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(50, generator=generator, dtype=torch.float64) * 3
    top_k, top_p, min_p, most = [
        (5, 0.9, 0.01, 10),
        (-1, 0.95, 0.0, 3),
        (30, 1.0, 0.05, 30),
        (12, 0.7, 0.2, 4),
    ][seed % 4]
    found = step(logits, temperature=0.6, top_k=top_k, top_p=top_p, min_p=min_p, max_topk=most)
    scores = [math.exp(z / 0.6) for z in logits.tolist()]
    ranked = sorted(range(50), key=lambda i: -scores[i])[: top_k if top_k > 0 else 50]
    total, seen, kept = sum(scores[i] for i in ranked), 0.0, []
    for i in ranked:
        if seen / total > top_p:
            break
        seen += scores[i]
        if scores[i] >= min_p * scores[ranked[0]]:
            kept.append(i)
    kept = kept[:most]
    assert found.ids == kept
    assert found.weights == pytest.approx(
        [scores[i] / sum(scores[j] for j in kept) for i in kept], abs=1e-12
    )


def test_margins_by_hand():
    logits = log(0.4, 0.3, 0.2, 0.1)
    found = margins(logits, temperature=1.0, top_k=3, top_p=0.8, min_p=0.3, max_topk=2)
    assert found["argmax"] == pytest.approx(math.log(4 / 3), abs=1e-6)
    assert found["top_p"] == pytest.approx(
        0.8 - 4 / 9, abs=1e-6
    )  # the cut after slot 2 cannot show
    assert found["min_p"] == pytest.approx(math.log(0.3 / 0.4 / 0.3), abs=1e-6)
    assert found["order"] == pytest.approx(math.log(4 / 3), abs=1e-6)
    by_rank = margins(
        log(0.4, 0.25, 0.2499, 0.1001), temperature=1.0, top_k=-1, top_p=1.0, min_p=0.0, max_topk=2
    )
    assert by_rank["order"] == pytest.approx(
        math.log(0.25 / 0.2499), abs=1e-6
    )  # slot 2 and the word left out
    assert {"top_p", "min_p"}.isdisjoint(by_rank)


# --- a whole request, scripted
# ------------------------------------------------------------------------------


def test_think_end_of_its_own_and_what_is_fed():
    trace, model = ask(TWO, {END: 0.6, 2: 0.4}, ANSWER, STOP)
    assert trace.output_ids == [2, END, 5, EOS]
    assert [(s.ids, s.forced) for s in trace.steps] == [([2, 3], None), ([END], None)]
    assert trace.steps[1].entropy == pytest.approx(
        0.6730, abs=1e-4
    )  # measured, although the token is one-hot
    assert (trace.ended, trace.finish, trace.thinking_tokens, trace.answer_tokens) == (
        "stop_token",
        "stop",
        1,
        2,
    )
    assert trace.final_entropy == trace.steps[1].entropy
    assert trace.mean_entropy == pytest.approx((0.5623 + 0.6730) / 2, abs=1e-4)
    mixture = torch.tensor([0, 0, 0.75, 0.25, 0, 0, 0, 0, 0, 0])
    assert torch.allclose(model.fed[1][0], mixture, atol=1e-6)
    assert [f[0].argmax().item() for f in model.fed[2:]] == [END, 5]
    assert torch.equal(model.fed[2][0], model.table.weight[END])


def test_cold_stop_counts_consecutive_steps_below_the_threshold():
    trace, _ = ask(SURE, TWO, SURE, SURE, ANSWER, cold_stop_threshold=0.5, cold_stop_steps=2)
    assert trace.output_ids == [2, 2, 2, END, 5, 5]
    assert (trace.ended, trace.thinking_tokens, trace.steps[3].forced) == (
        "cold_stop",
        3,
        "cold_stop",
    )
    assert trace.steps[3].entropy == pytest.approx(0.0, abs=1e-6)
    assert trace.steps[1].margins["entropy"] == pytest.approx(0.0623, abs=1e-4)


def test_cold_stop_threshold_itself_is_not_low_and_the_answer_does_not_count():
    script = (TWO, TWO, FINISH, SURE)
    entropy = ask(*script)[0].steps[0].entropy
    trace, _ = ask(*script, cold_stop_threshold=entropy, cold_stop_steps=1, max_new_tokens=8)
    assert (trace.ended, trace.output_ids) == ("stop_token", [2, 2, END, 2, 2, 2, 2, 2])
    trace, _ = ask(*script, cold_stop_threshold=entropy + 1e-6, cold_stop_steps=1, max_new_tokens=3)
    assert (trace.ended, trace.output_ids) == ("cold_stop", [END, 2, END])


@pytest.mark.parametrize("bound", [0, 1, 3])
def test_bound(bound):
    trace, _ = ask(TWO, max_thinking_tokens=bound, max_new_tokens=5)
    assert trace.output_ids == [2] * bound + [END] + [2] * (4 - bound)
    assert (trace.ended, trace.thinking_tokens, trace.steps[-1].forced) == (
        "max_thinking_tokens",
        bound,
        "max_thinking_tokens",
    )


def test_order_of_reasons():
    both = {"cold_stop_threshold": 0.5, "cold_stop_steps": 2, "max_thinking_tokens": 1}
    assert ask(SURE, SURE, ANSWER, **both)[0].ended == "cold_stop"
    trace, _ = ask(SURE, FINISH, ANSWER, **both)
    assert (trace.ended, trace.steps[-1].forced) == ("stop_token", None)


def test_thinking_that_does_not_end():
    trace, _ = ask(TWO)
    assert (trace.ended, trace.finish, trace.thinking_tokens, trace.answer_tokens) == (
        "length",
        "length",
        6,
        0,
    )
    trace, _ = ask(TWO, {EOS: 0.9, 2: 0.1}, thinking_eos="stop")
    assert (trace.ended, trace.finish, trace.thinking_tokens) == ("stop_eos", "stop", 2)
    assert trace.steps[1].ids == [EOS, 2]


@pytest.mark.parametrize(
    ("prompt", "phase"),
    [
        ([START], "thinking"),
        ([START, 1, END], "before"),
        ([START, END, START, 1], "thinking"),
        ([1, 2], "before"),
        ([END], "before"),
        ([START, END, 1], "before"),
    ],
)
def test_where_thinking_starts(prompt, phase):
    request = Request(think_start_id=START, think_end_id=END)
    assert loop.first_phase(prompt, request) == phase
    assert loop.first_phase(prompt, replace(request, method="discrete")) == "answer"


def test_thinking_that_the_model_opens_itself_and_never_again():
    trace, model = ask({START: 0.9, 2: 0.1}, TWO, FINISH, {START: 1.0}, TWO, prompt=[1])
    assert trace.output_ids == [START, 2, END, START, 2, 2]
    assert (trace.first_step, trace.thinking_tokens, trace.answer_tokens, len(trace.steps)) == (
        1,
        1,
        3,
        2,
    )
    assert torch.equal(model.fed[1][0], model.table.weight[START])
    trace, _ = ask(FINISH, TWO, prompt=[1])  # think-end before any thinking is a word like another
    assert (trace.steps, trace.ended, trace.first_step) == ([], None, None)


def test_hard_request_has_no_concepts():
    trace, _ = ask(TWO, FINISH, TWO, method="discrete", max_thinking_tokens=0)
    assert (trace.output_ids, trace.steps, trace.ended) == ([2, END, 2, 2, 2, 2], [], None)


# --- penalties
# ----------------------------------------------------------------------------------------------


def adjusted(logits, prompt, output, **changes):
    request = Request(think_start_id=START, think_end_id=END, **changes)
    return loop.adjust(torch.tensor(logits), prompt, output, request).tolist()


def test_penalties_by_hand():
    logits = [2.0, -2.0, 1.0, 0.5]
    assert adjusted(logits, [3], [0, 0, 1], frequency_penalty=0.5) == [1.0, -2.5, 1.0, 0.5]
    assert adjusted(logits, [3], [0, 0, 1], presence_penalty=0.5) == [1.5, -2.5, 1.0, 0.5]
    assert adjusted(logits, [3], [0, 0, 1], repetition_penalty=2.0) == [
        1.0,
        -4.0,
        1.0,
        0.5,
    ]  # not the prompt's 3
    both = adjusted(
        logits, [3], [0, 0, 1], frequency_penalty=0.5, presence_penalty=0.5, repetition_penalty=2.0
    )
    assert both == [0.25, -6.0, 1.0, 0.5]
    assert adjusted(logits, [3], [0], repetition_penalty=2.0, logit_bias={0: 1.0, 3: -1.0}) == [
        2.0,
        -2.0,
        1.0,
        -0.5,
    ]
    assert adjusted(logits, [3], [0], min_new_tokens=2, eos_ids=frozenset([2]))[2] == -math.inf
    assert adjusted(logits, [3], [0, 0], min_new_tokens=2, eos_ids=frozenset([2])) == logits


def test_penalties_under_the_overlap_schedule_are_late_by_one_token():
    logits = [2.0, 2.0, 2.0, 2.0]
    changes = {"frequency_penalty": 1.0, "penalty_history": "overlap"}
    assert adjusted(logits, [3], [], **changes) == logits
    assert adjusted(logits, [3], [0], **changes) == [2.0, 2.0, 2.0, 1.0]
    assert adjusted(logits, [3], [0, 0, 1], **changes) == [0.0, 2.0, 2.0, 1.0]


def test_penalties_count_anew_after_a_retraction():
    logits = [2.0, 2.0, 2.0, 2.0]
    changes = {"frequency_penalty": 1.0, "retracted_at": [1, 3]}
    assert adjusted(logits, [3], [0], **changes) == logits
    assert adjusted(logits, [3], [0, 1], **changes) == [2.0, 1.0, 2.0, 2.0]
    assert adjusted(logits, [3], [0, 1, 1], **changes) == logits
    assert adjusted(logits, [3], [0, 1, 1, 0], **changes) == [1.0, 2.0, 2.0, 2.0]
    overlap = changes | {"penalty_history": "overlap"}
    assert adjusted(logits, [3], [0, 1, 1], **overlap) == logits
    assert adjusted(logits, [3], [0, 1, 1, 0], **overlap) == [2.0, 1.0, 2.0, 2.0]
    assert adjusted(logits, [3], [0, 1, 1, 0, 2], **overlap) == [1.0, 1.0, 2.0, 2.0]


def test_penalties_change_concept_tokens_and_count_output_tokens():
    trace, _ = ask(TWO, TWO, frequency_penalty=10.0, max_new_tokens=3)
    assert [s.ids[0] for s in trace.steps] == [2, 3, 2] == trace.output_ids


# --- independence
# -------------------------------------------------------------------------------------------


def test_the_oracle_imports_neither_the_plugin_nor_sglang():
    files = [
        p
        for folder in (Path(__file__).parent, Path(tiny.__file__).parent)
        for p in folder.glob("*.py")
    ]
    assert len(files) >= 6
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [n for n in names if n.startswith("sglang")], path
