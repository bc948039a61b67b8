"""Every clause of every stopping rule, by hand: where it just fires, and where it just does not."""

import math

import pytest
import torch

from tests.models import tiny
from tests.oracle.boundaries import CLASSES, boundary_ids
from tests.oracle.request import Request
from tests.oracle.scripted import END, FINISH, START, STOP, SURE, TWO, ask
from tests.oracle.stopping import NEEDS, Stopping

DOT, WORD = 4, 5
RCPD = {"rule": "rcpd", "at": "sentence", "rank": 5, "low_rank": 20, "low_count": 3,
        "mid_rank": 50, "mid_count": 6}  # fmt: skip
BRAKE = {"rule": "thinkbrake", "at": "paragraph", "margin": 1.0}
LEASH = {"rule": "leash", "window": 2, "votes": 2, "entropy_slope": 0.05, "margin_gain": 0.25,
         "min_tokens": 0, "warm_up": 0, "entropy_drop": 0.1, "saturation": 0.9,
         "max_tokens": 99}  # fmt: skip


def rule(which: dict, end=(END,), **changes) -> Stopping:
    return Stopping(which | changes, end, frozenset([DOT]))


# --- rcpd


def with_rank(rank: int, size: int = 1200) -> torch.Tensor:
    """Logits 0, -1, -2, ... of which think-end has the one of that rank."""
    order = [i for i in range(size) if i != END]
    order.insert(rank - 1, END)
    return torch.zeros(size).index_put((torch.tensor(order),), -torch.arange(float(size)))


def ranks(*given: int | None, **changes) -> list[bool]:
    """Whether RCPD stops at steps of those ranks; None: no boundary."""
    stopping, found, thought = rule(RCPD, **changes), [], [WORD]
    for rank in given:
        thought.append(WORD if rank is None else DOT)
        found.append(stopping.step(with_rank(rank or 1), thought).stops)
    return found


@pytest.mark.parametrize(
    ("given", "stops"),
    [
        ((5,), True),
        ((6,), False),
        ((1000, 100, 50, 10), True),
        ((1001, 100, 50, 10), False),
        ((1000, 101, 50, 10), False),
        ((1000, 100, 51, 10), False),
        ((1000, 100, 50, 11), False),
        ((100, 50, 10), False),  # three boundaries only
        ((20, 20, 20), True),
        ((20, 20), False),
        ((20, 21, 20, 20), False),
        ((20, 20, 21), False),
        ((50, 50, 50, 50, 50, 50), True),
        ((50, 50, 50, 50, 50), False),
        ((50, 50, 50, 51, 50, 50, 50, 50, 50), False),
        ((1000, None, 100, None, None, 50, None, 10), True),  # boundaries count, not steps
        ((20, None, 20, 20), True),
    ],
)
def test_rcpd(given, stops):
    assert ranks(*given) == [False] * (len(given) - 1) + [stops]


def test_rcpd_parameters():
    assert ranks(3, rank=2, low_count=2) == [False]
    assert ranks(8, 8, low_rank=8, low_count=2) == [False, True]
    assert ranks(9, 9, low_rank=8, low_count=2) == [False, False]
    assert ranks(70, 70, mid_rank=70, mid_count=2) == [False, True]


def test_rcpd_only_at_boundaries():
    stopping = rule(RCPD)
    assert not stopping.step(with_rank(1), []).stops  # the first step follows nothing
    assert not stopping.step(with_rank(1), [DOT, WORD]).stops
    assert stopping.ranks == []
    assert stopping.step(with_rank(1), [WORD, DOT]).stops


def test_rcpd_margin_is_of_the_threshold_that_is_nearest():
    near = with_rank(6)
    near[END] += 0.75  # of -5, where the fifth has -4
    found = rule(RCPD).step(near, [DOT])
    assert not found.stops and found.margins == pytest.approx({"rank": 0.25})
    equal = with_rank(6)
    equal[END] = -4.0
    assert rule(RCPD).step(equal, [DOT]).stops  # of equal logits none is larger
    assert rule(RCPD).step(equal, [DOT]).margins == {"rank": 0.0}


# --- thinkbrake


@pytest.mark.parametrize(("apart", "stops"), [(1.0, True), (1.001, False), (0.0, True)])
def test_thinkbrake(apart, stops):
    z = torch.tensor([0.0] * 9 + [2.0 - apart])
    z[3] = 2.0
    found = rule(BRAKE).step(z, [DOT])
    assert found.stops == stops
    assert found.margins == pytest.approx({"margin": abs(apart - 1)}, abs=1e-6)
    assert rule(BRAKE, margin=0.5).step(z, [DOT]).stops == (apart <= 0.5)
    assert not rule(BRAKE).step(z, []).stops and not rule(BRAKE).step(z, [DOT, WORD]).stops


def test_the_next_token_of_a_think_end_that_has_begun():
    z = torch.tensor([0.0, 0.0, 9.0, 9.0, 0.0])
    for thought, stops in (([4], False), ([4, 4], True), ([3, 4], False)):
        found = Stopping(BRAKE, (4, 4, 3), frozenset([4])).step(z, thought)
        assert found.stops == stops, thought
    assert rule(BRAKE, end=(3, 1)).step(z, [DOT]).stops
    assert not rule(BRAKE, end=(1, 3)).step(z, [DOT]).stops


# --- think_end_boost


def test_boost_is_over_the_finite_logits():
    z = torch.tensor([3.0, 1.0, -math.inf, *[0.0] * 5, 0.0, -2.0])  # mean 2 / 9
    boosted = Stopping({"rule": "think_end_boost", "boost": 0.3}, (END,)).adjusted(z, [])
    assert float(boosted[END]) == pytest.approx(-2.0 + 0.3 * (3.0 - 2 / 9))
    assert torch.equal(boosted[:END], z[:END]) and float(z[END]) == -2.0
    assert torch.equal(Stopping(None, (END,)).adjusted(z, []), z)
    masked = Stopping({"rule": "think_end_boost", "boost": 0.3}, (2,)).adjusted(z, [])
    assert float(masked[2]) == -math.inf


def test_boost_comes_before_everything_and_forces_nothing():
    """Logits log p of ten tokens, eight of which have 1e-30: think-end comes to half of the mass."""
    logs = [math.log(p) for p in (0.8, 0.2, *[1e-30] * 8)]
    apart = logs[0] - math.fsum(logs) / 10
    boost = (math.log(0.9) - math.log(1e-30)) / apart
    rule_ = {"rule": "think_end_boost", "boost": boost}
    trace, _ = ask({2: 0.8, 3: 0.2}, SURE, stop=rule_, max_topk=2)
    assert (trace.output_ids[0], trace.ended, trace.steps[0].forced) == (END, "stop_token", None)
    p = [0.9 / 1.9, 0.8 / 1.9, 0.2 / 1.9]
    assert trace.steps[0].entropy == pytest.approx(-sum(x * math.log(x) for x in p), abs=1e-5)
    assert trace.output_ids[1] == 2, "the answer is not boosted"
    weaker = {"rule": "think_end_boost", "boost": boost * 0.99}
    trace, _ = ask({2: 0.8, 3: 0.2}, stop=weaker, max_topk=2)
    assert trace.output_ids[0] == 2 and trace.steps[0].ids == [2, END]


# --- leash


def play(*steps: tuple[float, float], **changes) -> tuple[list[bool], Stopping]:
    """Steps of (p_max, share of the second among the rest of three tokens)."""
    stopping, found = rule(LEASH, **changes), []
    for largest, share in steps:
        probs = torch.tensor([largest, (1 - largest) * share, (1 - largest) * (1 - share)])
        found.append(stopping.step(probs.double().log(), [WORD]).stops)
    return found, stopping


WIDE, NARROW = (0.4, 0.5), (0.8, 0.5)  # entropies 1.0889, 0.6390; margins 0.2877, 2.0794
H_WIDE, H_NARROW = 1.0888999753452238, 0.6390318596501769


def test_leash_stops_when_the_entropy_has_fallen_and_is_flat():
    found, stopping = play(WIDE, WIDE, NARROW, NARROW, NARROW, NARROW)
    assert stopping.entropies[0] == pytest.approx(H_WIDE)
    assert stopping.entropies[-1] == pytest.approx(H_NARROW)
    assert stopping.leads[0] == pytest.approx(math.log(4 / 3))
    assert stopping.votes == [False, False, True, True]
    assert found == [False] * 4 + [True, True]  # one yes of two is half


def test_leash_not_before_its_time():
    flat = [WIDE, WIDE, *[NARROW] * 8]
    first = play(*flat)[0].index(True)
    assert first == 4
    assert play(*flat, min_tokens=4, warm_up=3)[0].index(True) == 6  # n = 7
    assert play(*flat, votes=5)[0].index(True) == 6  # n = 7, where three of five votes are yes
    assert True in play(*flat, entropy_drop=0.4498)[0]
    assert True not in play(*flat, entropy_drop=0.4499)[0]


def test_leash_reference_is_the_median_of_the_first_window():
    middle = (H_WIDE + H_NARROW) / 2 - H_NARROW
    steps = [WIDE, NARROW, NARROW, NARROW, NARROW, NARROW]
    assert True in play(*steps, entropy_drop=middle - 1e-6)[0]
    assert True not in play(*steps, entropy_drop=middle + 1e-6)[0]
    odd = [WIDE, NARROW, WIDE, *[NARROW] * 6]
    assert True in play(*odd, window=3, entropy_drop=H_WIDE - H_NARROW - 1e-6)[0]


def test_leash_votes_of_saturated_steps_are_not_cast():
    flat = [WIDE, WIDE, *[NARROW] * 8]
    assert play(*flat, saturation=0.801)[1].votes
    found, stopping = play(*flat, saturation=0.8)
    assert stopping.votes == [] and True not in found  # p_max < saturation, and no votes: no stop
    found, stopping = play(*flat[:4], (0.95, 0.5), *flat[:2], NARROW)
    assert len(stopping.votes) == 8 - 2 - 1


def test_leash_both_conditions_of_a_vote():
    slope = (H_NARROW - H_WIDE) / 2
    gain = math.log(8) - math.log(4 / 3)
    for changes, vote in (
        ({"entropy_slope": -slope + 1e-6, "margin_gain": gain + 1e-6}, True),
        ({"entropy_slope": -slope - 1e-6, "margin_gain": gain + 1e-6}, False),
        ({"entropy_slope": -slope + 1e-6, "margin_gain": gain - 1e-6}, False),
    ):
        assert play(WIDE, WIDE, NARROW, **changes)[1].votes == [vote]


def test_leash_less_than_half_of_the_last_votes():
    """Of four votes the last is no, no, no, yes: no stop; with two, no and yes: a stop."""
    steps = [WIDE, WIDE, NARROW, NARROW, (0.85, 0.5), (0.85, 0.5)]
    assert play(*steps, votes=4)[1].votes == [False] * 4
    steps = [WIDE, WIDE, NARROW, NARROW, (0.9, 0.5), NARROW]
    found, stopping = play(*steps, votes=4, saturation=0.91)
    assert stopping.votes == [False, False, False, True] and not found[-1]
    assert play(*steps, votes=2, saturation=0.91)[0][-1]


def test_leash_largest_length():
    assert play(*[WIDE] * 4, max_tokens=3)[0] == [False, False, True, True]


def test_leash_margins():
    stopping = rule(LEASH)
    for largest, _ in (WIDE, WIDE, NARROW, NARROW):
        probs = torch.tensor([largest, (1 - largest) / 2, (1 - largest) / 2])
        margins = stopping.step(probs.double().log(), [WORD]).margins
    slope, gain = (H_NARROW - H_WIDE) / 2, math.log(6)
    assert margins == pytest.approx({
        "saturation": 0.1, "entropy_slope": -slope - 0.05, "margin_gain": gain - 0.25,
        "entropy_drop": H_WIDE - H_NARROW - 0.1,
    }, abs=1e-6)  # fmt: skip
    assert rule(LEASH).step(torch.zeros(3), []).margins == {}


# --- in a whole request


def test_a_rules_end():
    brake = BRAKE | {"at": "every"}
    every = {"stop": brake, "boundary_ids": frozenset(range(10)), "closing": (6,)}
    sure = {2: 0.7, END: 0.3}
    trace, _ = ask(sure, TWO, sure, TWO, **every)
    assert trace.output_ids[:4] == [2, 2, 6, END] and trace.ended == "stop_rule"
    assert [s.forced for s in trace.steps] == [None, None, "stop_rule", "stop_rule"]
    assert trace.thinking_tokens == 3
    assert trace.margins_at(2)["margin"] == pytest.approx(1 - math.log(7 / 3), abs=1e-6)


def test_order_of_reasons():
    """Its own end, end of sequence, the method, the rule, the bound."""
    leash = LEASH | {"max_tokens": 1}
    both = {"stop": leash, "max_thinking_tokens": 0}
    assert ask(FINISH, **both)[0].ended == "stop_token"
    assert ask(STOP, **both)[0].ended == "eos"
    assert ask(TWO, **both)[0].ended == "stop_rule"
    assert ask(TWO, stop=LEASH, max_thinking_tokens=0)[0].ended == "max_thinking_tokens"


@pytest.mark.parametrize(("bound", "tokens"), [(None, 2), (1, 1), (3, 2)])
def test_a_budget_is_a_bound(bound, tokens):
    rule_ = {"rule": "budget", "tokens": 2}
    trace, _ = ask(TWO, stop=rule_, max_thinking_tokens=bound)
    assert (trace.thinking_tokens, trace.ended) == (tokens, "max_thinking_tokens")


def test_cold_stop_as_a_rule():
    rule_ = {"rule": "cold_stop", "entropy": 0.5, "steps": 2}
    old = {"cold_stop_threshold": 0.5, "cold_stop_steps": 2}
    one, other = ask(TWO, SURE, SURE, stop=rule_)[0], ask(TWO, SURE, SURE, **old)[0]
    assert one.output_ids == other.output_ids == [2, 2, END, 2, 2, 2] and one.ended == "cold_stop"
    assert one.low == other.low == 2
    never = ask(SURE, stop=rule_ | {"entropy": 0.0, "steps": 1})[0]
    assert never.ended == "length"


@pytest.mark.parametrize("name", NEEDS)
def test_every_parameter_is_given(name):
    whole = {"rule": name} | {p: 1 for p in NEEDS[name]}
    ids = {"think_start_id": START, "think_end_id": END}
    Request(stop=whole, **ids)
    for wrong in (whole | {"other": 1}, {k: v for k, v in whole.items() if k != NEEDS[name][-1]}):
        with pytest.raises(ValueError, match="needs"):
            Request(stop=wrong, **ids)
    with pytest.raises(ValueError, match="cold_stop_threshold=0.1"):
        Request(stop=whole, cold_stop_threshold=0.1, **ids)


# --- classes of tokens


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        (".", "sentence clause"),
        (" ok?", "sentence clause"),
        ('!"', "sentence clause"),
        (".)]}**  ", "sentence clause"),
        (".\n\n", "sentence clause paragraph"),
        ("\n", "sentence clause"),
        (" \n\n", "sentence clause paragraph"),
        ("a\nb", "sentence clause"),
        ("。", "sentence clause"),
        ("…»", "sentence clause"),
        (";", "clause"),
        ("：  ", "clause"),
        (";)", ""),
        (".5", ""),
        (" word", ""),
        (",", ""),
        ("", ""),
        ("  ", ""),
        ('")', ""),
    ],
)
def test_classes(text, classes):
    assert [name for name, is_in in CLASSES.items() if is_in(text)] == [*classes.split(), "every"]


def test_boundaries_of_a_tokenizer(loaded):
    tokenizer = loaded("llama")[1]
    sentence = boundary_ids(tokenizer, "sentence")
    assert tokenizer.encode(".", add_special_tokens=False)[0] in sentence
    assert tokenizer.encode("a", add_special_tokens=False)[0] not in sentence
    assert boundary_ids(tokenizer, "every") == set(range(len(tokenizer)))
    assert boundary_ids(tokenizer, "paragraph") <= sentence <= boundary_ids(tokenizer, "clause")
    assert tiny.THINK[1] not in {tokenizer.decode([i]) for i in sentence}
