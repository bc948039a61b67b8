"""Every method without a memory by hand, on q = 1/2, 1/4, 1/8, 1/8 of the tokens 1, 0, 2, 3; and
its margins."""

import math

import pytest
import torch

from tests.oracle import Request
from tests.oracle.candidates import Candidates
from tests.oracle.methods import STATELESS, normalised_entropy
from tests.oracle.noise import Noise
from tests.oracle.request import NEEDS
from tests.oracle.scripted import END, START, Fixed
from tests.oracle.steps import margins
from tests.oracle.thinking import Thinking

HALVES = torch.tensor([1 / 4, 1 / 2, 1 / 8, 1 / 8]).log()
FLAT = torch.zeros(4)
LOG2 = math.log(2)
FIELDS = {
    "gumbel_temperature": 0.5,
    "dirichlet_gamma": 4.0,
    "moi_beta": 1.0,
    "multiplex_weighting": "mean",
    "multiplex_token": "largest",
    "router_threshold": 0.5,
    "selar_threshold": 0.5,
    "selar_contrast": 1.0,
    "selar_alone": "math",
    "selar_token": "top",
    "swi_window": 2,
    "swi_alpha": 0.6,
    "swi_beta": 0.7,
    "swi_first_share": 0.9,
    "swi_blend": "drawn",
    "swi_alone": "math",
    "swi_token": "top",
    "swi_latent_above": 0.0,
    "noise_scale": 0.33,
}


def request(method: str, **changes) -> Request:
    every = {"seed": 1, "temperature": 1.0, "top_k": -1, "top_p": 1.0, "min_p": 0.0, "max_topk": 4}
    return Request(
        think_start_id=START, think_end_id=END, method=method, **(every | FIELDS | changes)
    )


def step(method: str, noise: dict | Noise = {}, logits: torch.Tensor = HALVES, **changes):  # noqa: B006
    asked = request(method, **changes)
    noise = Fixed(noise) if isinstance(noise, dict) else noise
    return STATELESS[method](Candidates(logits, asked), asked, noise)


def check(found, ids: list[int], weights: list[float], token: int) -> None:
    assert found.ids == ids
    assert found.weights == pytest.approx(weights, abs=1e-6)
    assert found.token == token


def draws(*uniforms: float) -> dict[tuple[int, int], float]:
    return {(0, j): u for j, u in enumerate(uniforms)}


# --- cot
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "u", "token"),
    [({}, 0.4, 1), ({}, 0.6, 0), ({}, 0.8, 2), ({}, 0.9, 3), ({"max_topk": 1}, 0.9, 3), ({"top_k": 2}, 0.6, 1),
     ({"temperature": 0.5}, 0.72, 1), ({"temperature": 0.5}, 0.74, 0), ({"min_p": 0.3}, 0.7, 0)],
)  # fmt: skip
def test_cot_draws_from_all_of_q(changes, u, token):
    found = step("cot", draws(u), **changes)
    check(found, [token], [1.0], token)


def test_cot_margins():
    """The draw, and the ranks next to the drawn one; the cuts of the filter too, for they move the
    boundaries."""
    found = step("cot", draws(0.6), top_p=0.9, min_p=0.1)
    assert found.margins["draw"] == pytest.approx(0.1)
    assert found.margins["order"] == pytest.approx(LOG2, abs=1e-6)
    assert found.margins["top_p"] == pytest.approx(
        0.025, abs=1e-6
    )  # 0.875 is before the last entry
    assert found.margins["min_p"] == pytest.approx(math.log(2.5), abs=1e-6)
    assert step("cot", draws(0.9)).margins["order"] == pytest.approx(
        0.0, abs=1e-6
    )  # 2 and 3 are equal
    last = step(
        "cot", draws(0.9), top_k=3
    ).margins  # the draw gives 2, of the rank before the first one left out
    assert last["order"] == pytest.approx(0.0, abs=1e-6)
    assert set(last) == {"draw", "order"}
    assert step("cot", draws(0.4)).entropy == pytest.approx(1.75 * LOG2, abs=1e-6)


# --- Gumbel, Dirichlet
# --------------------------------------------------------------------------------------


def gumbels(**values: float) -> dict[tuple[int, int], float]:
    """Uniforms of stream 1 that give token tN this Gumbel value."""
    return {(1, int(name[1:])): math.exp(-math.exp(-g)) for name, g in values.items()}


@pytest.mark.parametrize(("t", "power"), [(1.0, 1), (0.5, 2), (0.25, 4)])
def test_gumbel_reorders(t, power):
    a, b = (2 / 3) ** power, (math.e**2 / 3) ** power
    found = step("soft_gumbel", gumbels(t0=2.0, t1=0.0), max_topk=2, gumbel_temperature=t)
    check(found, [0, 1], [b / (a + b), a / (a + b)], token=0)
    assert found.margins["order"] == pytest.approx(2 - LOG2, abs=1e-6)
    assert found.margins["cut"] == pytest.approx(LOG2, abs=1e-6)
    assert "argmax" not in found.margins


def test_gumbel_slots_below_float32_are_unused():
    found = step("soft_gumbel", gumbels(t0=2.0, t1=0.0), max_topk=2, gumbel_temperature=0.01)
    check(found, [0], [1.0], token=0)
    assert "order" not in found.margins


def gamma_of(token: int, boost: float) -> dict[tuple[int, int], float]:
    """The first round accepts x = 0, v = 1; the boost is `boost` to the power 1 / a."""
    return {(16, token): 0.5, (17, token): 0.25, (18, token): 0.5, (2, token): boost}


@pytest.mark.parametrize(
    ("boost", "ids", "weights"),
    [((1 / 16, 1 / 4), [1, 0], [0.6, 0.4]), ((1 / 16, 1.0), [0, 1], [16 / 19, 3 / 19])],
)
def test_dirichlet(boost, ids, weights):
    """c = 2: a = 4/3 and 2/3, d = 2 and 4/3; g = 2 * u^(3/4) = 1/4, and 4/3 * u^(3/2) = 1/6 or
    4/3."""
    found = step(
        "soft_dirichlet",
        gamma_of(1, boost[0]) | gamma_of(0, boost[1]),
        max_topk=2,
        dirichlet_gamma=2.0,
    )
    check(found, ids, weights, token=ids[0])
    assert found.margins["gamma"] == pytest.approx(math.log(2))
    slopes = 1 + 3 / 4 * math.log(16) + 3 / 2 * math.log(1 / boost[1])
    assert found.margins["order"] == pytest.approx(
        math.log(weights[0] / weights[1]) / slopes, abs=1e-6
    )


def test_dirichlet_of_one_candidate():
    found = step("soft_dirichlet", Noise(1, 0), max_topk=1)
    check(found, [1], [1.0], token=1)
    assert set(found.margins) == {"cut"}


# --- moi
# ----------------------------------------------------------------------------------------------------


def test_moi():
    """h = 1.75 log 2 / log 4 = 0.875; y = token 0: (0.875 / 4 + 1.125) / 2."""
    found = step("moi", draws(0.6))
    check(found, [0, 1, 2, 3], [0.671875, 0.21875, 0.0546875, 0.0546875], token=0)
    assert found.margins["draw"] == pytest.approx(0.1)
    assert found.margins["order"] == pytest.approx(0.0, abs=1e-6)


def test_moi_where_the_drawn_token_is_not_the_largest():
    check(
        step("moi", draws(0.9), moi_beta=0.0),
        [1, 3, 0, 2],
        [0.4375, 0.234375, 0.21875, 0.109375],
        token=3,
    )


def test_moi_normalises_its_entropy_by_max_topk_not_by_the_candidates():
    h = (math.log(3) - LOG2 * 2 / 3) / math.log(4)
    weights = [(h * 2 / 3 + 2 - h) / 2, h / 3 / 2]
    check(step("moi", draws(0.5), top_k=2), [1, 0], weights, token=1)
    check(step("moi", draws(0.5), max_topk=1), [1], [1.0], token=1)


# --- multiplex, average
# -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weighting", "uniforms", "ids", "weights"),
    [
        ("mean", (0.1, 0.2, 0.3), [1], [1.0]),
        ("prob", (0.1, 0.2, 0.3), [1], [1.0]),
        ("mean", (0.1, 0.8, 0.8), [2, 1], [2 / 3, 1 / 3]),
        ("prob", (0.1, 0.8, 0.8), [1, 2], [2 / 3, 1 / 3]),  # 1/2, and 1/8 twice
        ("prob", (0.1, 0.2, 0.8), [1, 2], [8 / 9, 1 / 9]),
        ("mean", (0.9, 0.8, 0.1), [1, 2, 3], [1 / 3] * 3),
        ("prob", (0.9, 0.6, 0.1), [1, 0, 3], [4 / 7, 2 / 7, 1 / 7]),
    ],
)
def test_multiplex_merges_duplicates(weighting, uniforms, ids, weights):
    """From all of q, whatever K; equal weights in the order of q."""
    found = step("multiplex", draws(*uniforms), max_topk=3, multiplex_weighting=weighting)
    check(found, ids, weights, token=ids[0])


def test_multiplex_shows_the_first_draw():
    found = step("multiplex", draws(0.8, 0.1, 0.2), max_topk=3, multiplex_token="first")
    check(found, [1, 2], [2 / 3, 1 / 3], token=2)


def test_multiplex_margin_is_of_its_closest_draw():
    assert step("multiplex", draws(0.1, 0.74, 0.3), max_topk=3).margins["draw"] == pytest.approx(
        0.01
    )


def test_average():
    check(step("average", max_topk=3), [1, 0, 2], [1 / 3] * 3, token=1)
    check(step("average", top_k=2), [1, 0], [1 / 2] * 2, token=1)
    masked = torch.tensor([0.0, -math.inf, 1.0, -math.inf])
    check(
        step("average", logits=masked), [2, 0], [1 / 2] * 2, token=2
    )  # a masked token is no entry of q


# --- gates
# --------------------------------------------------------------------------------------------------


def test_thinkrouter():
    check(step("thinkrouter", max_topk=2, router_threshold=0.4), [1, 0], [2 / 3, 1 / 3], token=1)
    found = step("thinkrouter", draws(0.8), max_topk=2, router_threshold=0.6)
    check(found, [2], [1.0], token=2)
    assert found.margins["gate"] == pytest.approx(0.1, abs=1e-6)
    found = step(
        "thinkrouter", draws(0.8), top_k=1, router_threshold=0.6
    )  # p, not q, which is 1 here
    assert found.margins["gate"] == pytest.approx(0.1, abs=1e-6) and "draw" in found.margins
    check(
        step("thinkrouter", logits=torch.zeros(2)), [0, 1], [0.5, 0.5], token=0
    )  # at the threshold: soft


def test_selar():
    """h = 0.875: w = 1.875 q - 0.875 at the first."""
    found = step("selar", draws(0.1))
    check(found, [0, 2, 3, 1], [0.46875, 0.234375, 0.234375, 0.0625], token=1)
    assert found.margins["gate"] == pytest.approx(0.375, abs=1e-6)
    assert found.margins["zero"] == pytest.approx(0.0625, abs=1e-6)


def test_selar_negative_weight():
    found = step("selar", draws(0.1), logits=FLAT)
    check(found, [1, 2, 3, 0], [0.5, 0.5, 0.5, -0.5], token=0)
    assert sum(found.weights) == pytest.approx(1.0)


def test_selar_weight_of_zero_is_unused():
    found = step("selar", draws(0.1), logits=torch.zeros(2), max_topk=2)
    check(found, [1], [1.0], token=0)
    assert found.margins["zero"] == 0.0


@pytest.mark.parametrize(
    ("contrast", "weights"),
    [(0.0, {1: 0.5, 0: 0.25, 2: 0.125, 3: 0.125}), (2.0, {0: 0.6875, 2: 0.34375, 3: 0.34375, 1: -0.375})],
)  # fmt: skip
def test_selar_contrast(contrast, weights):
    found = step("selar", draws(0.1), selar_contrast=contrast)
    check(found, list(weights), list(weights.values()), token=1)


def test_selar_shows_the_drawn_token_and_feeds_a_mathematical_one_alone():
    drawn = {"selar_token": "drawn", "math_ids": frozenset([2])}
    check(
        step("selar", draws(0.6), selar_contrast=0.0, **drawn),
        [1, 0, 2, 3],
        [0.5, 0.25, 0.125, 0.125],
        0,
    )
    check(step("selar", draws(0.8), **drawn), [2], [1.0], token=2)
    found = step("selar", draws(0.8), selar_contrast=0.0, **(drawn | {"selar_alone": "none"}))
    check(found, [1, 0, 2, 3], [0.5, 0.25, 0.125, 0.125], token=2)


def test_selar_discrete():
    check(step("selar", draws(0.8), selar_threshold=0.9), [2], [1.0], token=2)
    at = normalised_entropy(Candidates(HALVES, request("selar")).first(4)[1], 4)
    assert len(step("selar", draws(0.8), selar_threshold=at).ids) == 4  # at it: soft
    above = math.nextafter(at, 1)
    check(step("selar", draws(0.8), selar_threshold=above), [2], [1.0], token=2)
    check(step("selar", draws(0.9), max_topk=1, selar_threshold=0.1), [3], [1.0], token=3)
    found = step(
        "selar", draws(0.1), top_k=2, selar_threshold=0.5
    )  # h of two candidates over log 4
    check(found, [1], [1.0], token=1)
    assert found.margins["gate"] == pytest.approx(
        0.5 - (math.log(3) - LOG2 * 2 / 3) / math.log(4), abs=1e-6
    )


# --- temperature 0, the filter
# ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", STATELESS)
@pytest.mark.parametrize("logits", [HALVES, FLAT])
def test_temperature_zero_is_the_argmax(method, logits):
    found = step(method, Noise(3, 1), logits, temperature=0.0)
    token = int(logits.argmax())
    check(found, [token], [1.0], token=token)
    assert found.entropy == pytest.approx((1.75 if logits is HALVES else 2) * LOG2, abs=1e-6)
    assert set(found.margins) == {"argmax"}


@pytest.mark.parametrize("seed", range(12))
def test_candidates_are_the_filter_of_method_soft(seed):
    """q_K of every method is what `thinking_step` feeds for "soft"."""
    logits = torch.randn(60, generator=torch.Generator().manual_seed(seed)) * 3
    asked = request(
        "soft",
        temperature=0.7,
        top_k=(5, 30, -1)[seed % 3],
        top_p=(0.9, 1.0)[seed % 2],
        min_p=0.002,
    )
    soft, c = Thinking(asked).step(logits), Candidates(logits, asked)
    ids, weights = c.first(asked.max_topk)
    assert ids == soft.ids and weights == pytest.approx(soft.weights, abs=1e-6)
    assert c.entropy == pytest.approx(soft.entropy, abs=1e-5)
    assert c.in_order(4) == pytest.approx(soft.margins, abs=1e-4)


def test_top_p_1_cuts_nothing():
    """Nor where the sum of all entries but the last comes out above 1."""
    for seed in range(20):
        logits = 10 * torch.randn(100, generator=torch.Generator().manual_seed(seed))
        assert len(Candidates(logits, request("cot")).ids) == 100


def test_a_cut_by_top_p_between_near_ties_is_seen():
    """Tokens 1 and 2 may change places: one of them is fed."""
    logits = torch.tensor([0.5, 0.25, 0.2499999, 0.0000001], dtype=torch.float64).log()
    found = margins(logits, temperature=1.0, top_k=-1, top_p=0.6, min_p=0.0, max_topk=4)
    assert found["order"] < 1e-6 and found["top_p"] > 0.09


@pytest.mark.parametrize("method", [name for name, needs in NEEDS.items() if needs])
def test_parameters_have_no_defaults(method):
    for name in NEEDS[method]:
        with pytest.raises(ValueError, match=name):
            request(method, **{name: None})


IMPOSSIBLE = (
    {"method": "sofd"},
    {"gumbel_temperature": 0.0},
    {"dirichlet_gamma": -1.0},
    {"multiplex_weighting": "max"},
    {"swi_max_switches": 0},
)


@pytest.mark.parametrize("changes", IMPOSSIBLE)
def test_impossible_requests_are_refused(changes):
    with pytest.raises(ValueError):
        request(**({"method": "soft"} | changes))
