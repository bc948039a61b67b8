"""How a thought ends, by hand: end of sequence, stop tokens, closing texts, delimiters of several
tokens."""

import pytest

from tests.oracle.ending import overlap
from tests.oracle.scripted import ANSWER, END, EOS, FINISH, START, STOP, SURE, TWO, ask

COLD = {"cold_stop_threshold": 0.1, "cold_stop_steps": 1}


def said(token: int) -> dict[int, float]:
    """The model says `token`, and is not sure."""
    return {token: 0.75, 1 if token != 1 else 2: 0.25}


def test_eos_becomes_think_end():
    trace, _ = ask(TWO, STOP, ANSWER, ANSWER, STOP)
    assert trace.output_ids == [2, END, 5, 5, EOS]
    assert (trace.ended, trace.finish, trace.thinking_tokens) == ("eos", "stop", 1)
    assert (trace.steps[1].ids, trace.steps[1].forced) == ([END], "eos")


def test_eos_comes_before_cold_stop_and_after_think_end():
    assert ask(STOP, **COLD)[0].ended == "eos"
    assert ask(FINISH, eos_ids=frozenset([END]))[0].ended == "stop_token"


def test_stop_tokens_act_in_the_answer_or_everywhere():
    ids = {"stop_ids": frozenset([2]), "max_new_tokens": 9}
    trace, _ = ask(TWO, TWO, FINISH, ANSWER, TWO, **ids)
    assert (trace.output_ids, trace.ended, trace.finish) == (
        [2, 2, END, 5, 2],
        "stop_token",
        "stop",
    )
    trace, _ = ask(TWO, TWO, FINISH, ANSWER, TWO, thinking_stop="everywhere", **ids)
    assert (trace.output_ids, trace.ended, trace.finish) == ([2], "stop_token_id", "stop")


def test_budget_of_the_answer():
    trace, _ = ask(TWO, FINISH, ANSWER, max_answer_tokens=2)
    assert (trace.output_ids, trace.finish) == ([2, END, 5, 5], "length")
    trace, _ = ask(said(3), said(START), TWO, FINISH, ANSWER, prompt=(1,), max_answer_tokens=1)
    assert (trace.output_ids, trace.finish) == ([3, START, 2, END, 5], "length")
    trace, _ = ask(TWO, FINISH, ANSWER, max_answer_tokens=0)
    assert (trace.output_ids, trace.finish) == ([2, END], "length")


def test_closing_text():
    trace, model = ask(TWO, SURE, closing=(3, 4), **COLD)
    assert trace.output_ids == [2, 3, 4, END, 2, 2]
    assert (trace.ended, trace.thinking_tokens) == ("cold_stop", 3)
    assert [s.ids for s in trace.steps[1:]] == [[3], [4], [END]]
    assert [f[0].argmax().item() for f in model.fed[2:5]] == [3, 4, END]


@pytest.mark.parametrize(
    ("bound", "output"), [(2, [3, 4, END, 2, 2, 2]), (3, [2, 3, 4, END, 2, 2])]
)
def test_closing_text_within_the_bound(bound, output):
    trace, _ = ask(TWO, closing=(3, 4), max_thinking_tokens=bound)
    assert (trace.output_ids, trace.ended) == (output, "max_thinking_tokens")
    assert trace.thinking_tokens == bound


def test_no_closing_text_before_an_end_of_its_own():
    assert ask(FINISH, closing=(3, 4))[0].output_ids[0] == END
    assert ask(STOP, closing=(3, 4))[0].output_ids[0] == END


@pytest.mark.parametrize(
    ("output", "sequence", "size"),
    [
        ([], [1, 2], 0),
        ([1], [1, 2], 1),
        ([1, 1], [1, 1, 2], 2),
        ([1, 1, 1], [1, 1, 2], 2),
        ([1, 2, 1], [1, 2, 1, 3], 3),
        ([3, 1], [1, 2, 1, 3], 1),
    ],
)
def test_overlap(output, sequence, size):
    assert overlap(output, sequence) == size


def test_sequences_that_overlap_themselves():
    """1 1 2 in 1 1 1 2: the second and third 1 are its beginning."""
    trace, _ = ask(said(1), said(1), said(1), said(2), ANSWER, think_end=(1, 1, 2))
    assert (trace.output_ids[:5], trace.ended) == ([1, 1, 1, 2, 5], "stop_token")
    assert [len(s.ids) for s in trace.steps] == [2, 2, 2, 1]  # only the last one is fed alone


def test_a_forced_end_completes_what_is_there():
    trace, _ = ask(said(1), said(1), SURE, ANSWER, think_end=(1, 1, 6), closing=(3,), **COLD)
    assert (trace.output_ids, trace.ended) == ([1, 1, 6, 5, 5, 5], "cold_stop")
    trace, _ = ask(said(1), STOP, ANSWER, think_end=(1, 4, 6), closing=(3,))
    assert (trace.output_ids, trace.ended) == ([1, 4, 6, 5, 5, 5], "eos")


def test_the_bound_counts_all_but_the_last_token_of_think_end():
    trace, _ = ask(TWO, think_end=(1, 1, 6), max_thinking_tokens=3)
    assert (trace.output_ids, trace.thinking_tokens) == ([2, 1, 1, 6, 2, 2], 3)


def test_thinking_starts_at_a_sequence():
    trace, _ = ask(said(3), said(3), said(4), TWO, FINISH, ANSWER, prompt=(1,), think_start=(3, 4))
    assert (trace.output_ids, trace.first_step) == ([3, 3, 4, 2, END, 5], 3)
