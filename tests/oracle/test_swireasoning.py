"""SwiReasoning by hand: its state, every switch, the blending, its end; W = 2, two slots, 10 new
tokens."""

import math

import pytest
import torch

from tests.oracle.candidates import Candidates
from tests.oracle.scripted import END, START, STOP, SURE, TWO, Fixed, ask
from tests.oracle.swireasoning import SwiReasoning
from tests.oracle.test_methods import FLAT, HALVES, LOG2, request

SHARP = torch.tensor([0.9, 0.1, 1e-9, 1e-9]).log()
MID = HALVES
ALPHA, BETA = 0.6, 0.7
SHARP_H = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
KNOBS = {"max_topk": 2, "max_new_tokens": 10, "swi_window": 2, "swi_alpha": ALPHA, "swi_beta": BETA}


def play(*logits: torch.Tensor, draws: float = 0.05, **changes):
    """(SwiReasoning, its steps); every draw is made with the uniform `draws`."""
    asked = request("swireasoning", **(KNOBS | changes))
    state = SwiReasoning(asked)
    return state, [
        state.step(Candidates(z, asked), position, Fixed({(0, 0): draws}))
        for position, z in enumerate(logits)
    ]


def slots(step) -> dict[int, float]:
    assert step.weights == sorted(step.weights, reverse=True)
    return dict(zip(step.ids, step.weights, strict=True))


def test_there_and_back_and_to_the_end():
    state, steps = play(MID, FLAT, MID, SHARP, FLAT, FLAT, MID, SHARP, swi_max_switches=2)
    assert state.events == [
        "stays",
        "stays",
        "stays",
        "to_explicit",
        "stays",
        "to_latent",
        "to_explicit",
        "stays",
    ]
    assert slots(steps[0]) == pytest.approx({1: 2 / 3, 0: 1 / 3}, abs=1e-6)
    assert slots(steps[1]) == {0: 0.5, 1: 0.5}  # H1 above the reference
    assert slots(steps[2]) == slots(steps[0])  # H1 equal to the reference
    assert slots(steps[3]) == pytest.approx({0: 0.79, END: 0.21})  # 0.7 + 0.3 * 3 / 10
    assert slots(steps[4]) == {0: 1.0}  # H1 above the reference, but only 1 step old
    assert slots(steps[5]) == pytest.approx({0: 0.4, 1: 0.4, START: 0.2})  # 0.6 + 0.4 * 5 / 10
    assert slots(steps[6]) == pytest.approx({1: 0.88, END: 0.12})  # 0.7 + 0.3 * 6 / 10
    assert [s.token for s in steps] == [1, 0, 1, 0, 0, 0, 1, 0]
    assert [s.concludes for s in steps] == [False] * 7 + [True]  # the step after the 2nd switch
    assert state.switches == 2


def test_margins():
    _, steps = play(MID, FLAT, MID, SHARP, FLAT, FLAT, MID)
    assert (
        "switch" not in steps[0].margins and "switch" not in steps[4].margins
    )  # H1 did not matter
    assert steps[1].margins["switch"] == pytest.approx(0.25 * LOG2, abs=1e-6)
    assert steps[2].margins["switch"] == pytest.approx(0.0, abs=1e-6)
    assert steps[3].margins["switch"] == pytest.approx(1.75 * LOG2 - SHARP_H, abs=1e-6)
    assert steps[5].margins["switch"] == pytest.approx(2 * LOG2 - SHARP_H, abs=1e-6)
    assert steps[3].margins["draw"] == pytest.approx(0.85) and "argmax" not in steps[3].margins
    assert {"argmax", "order"} <= set(steps[0].margins) and "draw" not in steps[0].margins


def test_reference_is_of_the_last_switch_only():
    """SHARP at step 1 sets R; MID at step 3 is above it; the same MID is then the reference."""
    state, _ = play(FLAT, SHARP, SHARP, MID, MID, FLAT)
    assert state.events == ["stays", "to_explicit", "stays", "to_latent", "stays", "stays"]
    assert state.reference == pytest.approx(1.75 * LOG2, abs=1e-6)


def test_explicit_with_a_falling_entropy_stays():
    state, steps = play(FLAT, MID, SHARP, SHARP, SHARP)
    assert state.events == ["stays", "to_explicit", "stays", "stays", "stays"]
    assert state.age == 3
    assert steps[4].margins["switch"] == pytest.approx(
        1.75 * LOG2 + 0.9 * math.log(0.9) + 0.1 * math.log(0.1), abs=1e-6
    )


def test_explicit_with_the_reference_entropy_stays():
    assert play(FLAT, MID, MID, MID, MID)[0].events == [
        "stays",
        "to_explicit",
        "stays",
        "stays",
        "stays",
    ]


def test_switches_go_by_the_entropy_at_temperature_1():
    """A peak over a long tail, then four equal tokens: the entropy falls at T = 1 and rises at T =
    0.5."""
    tail = torch.tensor([0.5] + [0.0005] * 1000).log()
    equal = torch.tensor([1.0] * 4 + [1e-9] * 997).log()
    state, steps = play(tail, equal, temperature=0.5)
    assert steps[0].entropy < steps[1].entropy
    assert state.events == ["stays", "to_explicit"]
    assert steps[1].margins["switch"] == pytest.approx(
        0.5 * LOG2 + 0.5 * math.log(2000) - 2 * LOG2, abs=1e-4
    )


def test_window_0_may_switch_back_at_the_next_step():
    assert play(MID, SHARP, FLAT, SHARP, FLAT, swi_window=0)[0].events == [
        "stays", "to_explicit", "to_latent", "to_explicit", "to_latent"
    ]  # fmt: skip
    assert play(MID, SHARP, FLAT, swi_window=1)[0].events[-1] == "to_latent"
    assert play(MID, SHARP, FLAT, swi_window=2)[0].events[-1] == "stays"


@pytest.mark.parametrize(("most", "end"), [(1, 2), (2, 4), (3, 6), (None, None)])
def test_switches_to_explicit_are_counted(most, end):
    state, steps = play(
        MID, SHARP, FLAT, SHARP, FLAT, SHARP, SHARP, swi_window=0, swi_max_switches=most
    )
    concluded = [i for i, s in enumerate(steps) if s.concludes]
    assert concluded[:1] == ([] if end is None else [end])
    assert state.switches == 3


def test_think_end_may_be_blended_with_the_mixture():
    _, steps = play(MID, SHARP, swi_blend="mixture", swi_token="drawn", draws=0.95)
    rate = 0.7 + 0.3 * 0.1
    assert slots(steps[1]) == pytest.approx({0: 0.9 * rate, END: 1 - rate, 1: 0.1 * rate})
    assert [s.token for s in steps] == [3, 1]


def test_the_first_step_may_hold_another_token():
    _, steps = play(MID, MID, swi_first_share=0.9, swi_first_token=5)
    assert slots(steps[0]) == pytest.approx({1: 0.6, 0: 0.3, 5: 0.1}, abs=1e-6)
    assert slots(steps[1]) == pytest.approx({1: 2 / 3, 0: 1 / 3}, abs=1e-6)


def test_a_mathematical_token_is_fed_alone_while_latent():
    """Nothing is blended in with it, but at a switch to explicit, where it makes no difference."""
    knobs = {"swi_window": 0, "swi_first_token": 5, "draws": 0.05, "swi_token": "drawn"}
    state, steps = play(MID, SHARP, FLAT, math_ids=frozenset([0, 1]), **knobs)
    assert state.events == ["stays", "to_explicit", "to_latent"]
    assert slots(steps[0]) == {1: 1.0} and slots(steps[2]) == {0: 1.0}
    assert slots(steps[1]) == pytest.approx({0: 0.73, END: 0.27})
    _, mixed = play(MID, SHARP, FLAT, math_ids=frozenset([0, 1]), swi_alone="none", **knobs)
    assert len(mixed[0].ids) == 3 and len(mixed[2].ids) == 3
    assert [s.token for s in mixed] == [s.token for s in steps] == [1, 0, 0]


def test_latent_is_unfiltered_and_at_temperature_1_the_draw_is_not():
    knobs = {"temperature": 0.5, "top_k": 1, "max_topk": 3, "draws": 0.9}
    _, steps = play(MID, SHARP, **knobs)
    assert slots(steps[0]) == pytest.approx({1: 4 / 7, 0: 2 / 7, 2: 1 / 7}, abs=1e-6)
    assert steps[1].token == 0  # of q, which top-k leaves one token
    p = [16 / 22, 4 / 22, 1 / 22, 1 / 22]
    assert steps[0].entropy == pytest.approx(
        -sum(x * math.log(x) for x in p), abs=1e-6
    )  # H stays at T


def test_temperature_zero():
    _, steps = play(MID, SHARP, temperature=0.0)
    assert slots(steps[0]) == pytest.approx({1: 2 / 3, 0: 1 / 3}, abs=1e-6)
    assert slots(steps[1]) == pytest.approx({0: 0.73, END: 0.27})


def test_masked_tokens_are_no_slots_of_latent_steps():
    _, steps = play(torch.tensor([0.0, -math.inf, 1.0, -math.inf]), max_topk=4)
    assert list(slots(steps[0])) == [2, 0]


def test_a_blended_marker_among_the_ids_adds_up():
    flat = torch.full((10,), -math.inf).index_fill(0, torch.tensor([3, START]), 0.0)
    _, steps = play(HALVES, SHARP, flat, swi_window=0)
    rate = 0.6 + 0.4 * 0.2
    assert slots(steps[2]) == pytest.approx({START: 0.5 * rate + 1 - rate, 3: 0.5 * rate})
    assert steps[2].ids == [START, 3] and steps[2].token == 3


def test_alpha_1_adds_nothing():
    _, steps = play(MID, SHARP, FLAT, swi_window=0, swi_alpha=1.0, swi_beta=1.0)
    assert (steps[1].ids, steps[2].ids) == ([0], [0, 1])


# --- in a whole request
# -------------------------------------------------------------------------------------

WIDE = {2: 0.4, 3: 0.3, 4: 0.3}
SWI = {"method": "swireasoning", "seed": 1, "max_topk": 2, "max_new_tokens": 8}
SWI |= {"swi_window": 0, "swi_alpha": ALPHA, "swi_beta": BETA, "swi_first_share": 0.9}
SWI |= {"swi_blend": "drawn", "swi_alone": "none", "swi_token": "top", "swi_latent_above": 0.0}


def test_the_loop_feeds_the_blend_and_ends_by_the_method():
    trace, model = ask(TWO, SURE, WIDE, SURE, SURE, STOP, swi_max_switches=2, **SWI)
    assert trace.output_ids == [2, 2, 2, 2, END, 7]
    assert (trace.ended, trace.thinking_tokens, trace.steps[4].forced) == ("method", 4, "method")
    assert (trace.steps[4].ids, trace.steps[4].weights, trace.answer_tokens) == ([END], [1.0], 1)
    explicit, latent = torch.zeros(10), torch.zeros(10)
    explicit[[2, END]] = torch.tensor([0.7375, 0.2625])
    latent[[2, 3, START]] = torch.tensor([0.7 * 4 / 7, 0.7 * 3 / 7, 0.3])
    assert torch.allclose(model.fed[2][0], explicit, atol=1e-6)
    assert torch.allclose(model.fed[3][0], latent, atol=1e-6)


def test_order_of_reasons():
    """Think-end of its own, then the method, then Cold Stop, then the bound."""
    cold = {
        "cold_stop_threshold": 0.5,
        "cold_stop_steps": 1,
        "max_thinking_tokens": 1,
        "swi_max_switches": 1,
    }
    ends = {"cold_stop_steps": 2, "max_thinking_tokens": 2}
    assert ask(TWO, SURE, {END: 1.0}, **(cold | ends), **SWI)[0].ended == "stop_token"
    assert ask(TWO, SURE, SURE, **(cold | ends), **SWI)[0].ended == "method"
    assert ask(TWO, SURE, **cold, **SWI)[0].ended == "cold_stop"
    assert ask(TWO, TWO, **cold, **SWI)[0].ended == "max_thinking_tokens"
