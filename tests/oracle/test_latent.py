"""LatentMAS's latent step and LaTER by hand, and the gates of LEAD."""

import math

import pytest
import torch

from tests.oracle import latent
from tests.oracle.scripted import ANSWER, END, FINISH, STOP, SURE, TWO, ask
from tests.oracle.test_swireasoning import FLAT, HALVES, SHARP, play

ROW = torch.full((10,), math.sqrt(1 / 10))
"""The scripted model's hidden states, at the norm of a row of its table, which is 1."""
LATER = {"method": "later", "seed": 1, "later_tokens": 3, "later_entropy": 5.0,
         "later_stop": "text", "latent_stop_ids": frozenset([6])}  # fmt: skip
STOPS = {6: 0.9, 2: 0.1}


@pytest.mark.parametrize("realign", [False, True])
def test_latent_mas_feeds_the_hidden_state_at_the_norm_of_a_row(realign):
    trace, model = ask(TWO, method="latent_mas", latent_realign=realign, max_new_tokens=3)
    assert [s.ids for s in trace.steps] == [[], [], []] and trace.output_ids == [2, 2, 2]
    for fed in model.fed[1:]:
        assert torch.allclose(fed[0], ROW)
    assert trace.steps[0].margins == pytest.approx({"argmax": math.log(3)}, abs=1e-6)


def test_realignment_by_hand():
    """U: rows (2, 0), (0, 1), (0, 0); E: rows (4, 0), (0, 3), (0, 0). W = diag(8, 3) / diag(4, 1), up
    to the ridge."""

    class Model:
        u, e = torch.tensor([[2.0, 0], [0, 1], [0, 0]]), torch.tensor([[4.0, 0], [0, 3], [0, 0]])

        def get_input_embeddings(self):
            return torch.nn.Embedding(3, 2, _weight=self.e)

        def get_output_embeddings(self):
            head = torch.nn.Linear(2, 3, bias=False)
            head.weight.data = self.u
            return head

    assert latent.mean_norm(Model()) == pytest.approx(7 / 3)
    found = latent.Latent(Model(), True)
    expected = torch.tensor([[8 / (4 + 1e-5), 0], [0, 3 / (1 + 1e-5)]], dtype=torch.float64)
    assert torch.allclose(found.W, expected, atol=1e-9)
    fed = found.offset(torch.tensor([1.0, 1.0]))
    assert float(fed.norm()) == pytest.approx(7 / 3)
    assert float(fed[0] / fed[1]) == pytest.approx(float(expected[0, 0] / expected[1, 1]))
    assert latent.Latent(Model(), False).offset(torch.zeros(2)).tolist() == [0, 0]


def kinds(*script, **changes) -> str:
    """h: a hidden state is fed; a digit: that token."""
    trace, model = ask(*script, **(LATER | changes))
    steps = ["h" if s.offset is not None else str(*s.ids) for s in trace.steps]
    for step, fed in zip(trace.steps, model.fed[1:], strict=False):
        assert torch.allclose(fed[0], ROW) == (step.offset is not None)
    assert trace.method_state == [float(steps[-1] == "h")]
    return "".join(steps)


def test_later_leaves_after_its_tokens():
    assert kinds(SURE) == "hhh222"
    assert kinds(SURE, later_tokens=0) == "222222"


def test_later_leaves_for_good_where_the_model_is_unsure():
    entropy = 0.5623
    assert kinds(SURE, TWO, SURE, later_entropy=entropy - 1e-3)[:2] == "h2"
    assert kinds(SURE, TWO, SURE, later_entropy=entropy - 1e-3)[2:] == "2222"
    assert kinds(SURE, TWO, SURE, later_entropy=entropy + 1e-3) == "hhh222"
    assert kinds(TWO, SURE, later_entropy=entropy - 1e-3) == "hhh222", "step 0 is not asked"


def test_later_leaves_at_a_token_and_draws_there():
    assert kinds(SURE, STOPS, SURE)[0] == "h"
    assert kinds(SURE, STOPS, SURE)[1] in "62" and kinds(SURE, STOPS, SURE)[2:] == "2222"
    drawn = {kinds(SURE, STOPS, SURE, seed=seed)[1] for seed in range(40)}
    assert drawn == {"6", "2"}
    assert kinds(STOPS, SURE) == "hhh222", "step 0 is not asked"
    assert kinds(SURE, STOPS, SURE, later_stop="none") == "hhh222"


def test_later_shows_the_most_probable_token_and_ends_as_others_do():
    trace, _ = ask(TWO, FINISH, ANSWER, **LATER)
    assert trace.output_ids[:2] == [2, END] and trace.ended == "stop_token"
    assert ask(TWO, STOP, ANSWER, **LATER)[0].ended == "eos"
    trace, _ = ask(TWO, **LATER)
    assert set(trace.steps[1].margins) == {"gate", "argmax"} and trace.output_ids[:3] == [2] * 3
    assert trace.steps[1].margins["gate"] == pytest.approx(5 - 0.5623, abs=1e-4)


# --- LEAD


def test_lead_leaves_latent_only_below_an_entropy():
    h = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert play(HALVES, SHARP, swi_explicit_below=h + 1e-6)[0].events[1] == "to_explicit"
    assert play(HALVES, SHARP, swi_explicit_below=h - 1e-6)[0].events[1] == "stays"
    _, steps = play(HALVES, SHARP, swi_explicit_below=h + 0.01)
    assert steps[1].margins["switch"] == pytest.approx(0.01, abs=1e-6)


def test_lead_comes_back_only_above_an_entropy():
    h = math.log(4)
    to = {"swi_window": 0}
    assert play(HALVES, SHARP, FLAT, **to, swi_latent_above=h - 1e-6)[0].events[2] == "to_latent"
    assert play(HALVES, SHARP, FLAT, **to, swi_latent_above=h + 1e-6)[0].events[2] == "stays"
    _, steps = play(HALVES, SHARP, FLAT, **to, swi_latent_above=h - 0.01)
    assert steps[2].margins["switch"] == pytest.approx(0.01, abs=1e-6)
