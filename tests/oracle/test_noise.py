"""The noise: known answers of splitmix64, then its statistics, with fixed seeds.

A chi-square or Kolmogorov-Smirnov test fails below p = 1e-4; a moment fails beyond 4 standard
errors. Both are computed from fixed seeds, so a failure is a change of the noise and no bad luck.
"""

import math
from itertools import combinations, islice, product

import pytest
from scipy import stats

from tests.oracle.noise import GOLDEN, MASK, Noise, bits, mix, softmax
from tests.oracle.scripted import Fixed

UNLIKELY = 1e-4


def moments_within(sample: list[float], mean: float, variance: float, errors: float = 4.0) -> None:
    """The mean and the variance are within `errors` standard errors, the latter's from the fourth
    moment."""
    n = len(sample)
    found = math.fsum(sample) / n
    assert abs(found - mean) < errors * math.sqrt(variance / n), (found, mean)
    squares = [(x - mean) ** 2 for x in sample]
    spread = math.fsum(squares) / n
    fourth = math.fsum((s - spread) ** 2 for s in squares) / n
    assert abs(spread - variance) < errors * math.sqrt(fourth / n), (spread, variance)


# --- by hand
# ------------------------------------------------------------------------------------------------


def test_mix_is_splitmix64():
    """Its published first outputs for the seed 1234567; the seed 0 begins with e220a8397b1dcdaf."""
    state = [1234567 + GOLDEN * i & MASK for i in (1, 2, 3)]
    assert [mix(x) for x in state] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]
    assert mix(GOLDEN) == 0xE220A8397B1DCDAF


def test_bits_by_the_formula():
    assert bits(0, 0, 0, 0) == mix((mix(GOLDEN) + GOLDEN) & MASK)
    assert bits(5, 2, 1, 9) == mix(
        (mix((mix(5) + 3 * GOLDEN) & MASK) + GOLDEN * (2**32 + 10)) & MASK
    )
    assert bits(-1, 0, 0, 0) == bits(2**64 - 1, 0, 0, 0) != bits(1, 0, 0, 0)
    assert bits(-(2**63), 3, 2, 1) == bits(2**63, 3, 2, 1)


def test_uniforms_are_odd_multiples_of_2_to_the_minus_24():
    for lane in range(1000):
        scaled = Noise(7, 0).uniform(0, lane) * 2**24
        assert scaled == int(scaled) and int(scaled) % 2 == 1 and 0 < scaled < 2**24


def test_gumbel_and_normal_by_hand():
    assert Fixed({(1, 4): math.exp(-1)}).gumbel(4) == pytest.approx(0.0, abs=1e-12)
    assert Fixed({(1, 4): math.exp(-math.exp(-2))}).gumbel(4) == pytest.approx(2.0, abs=1e-12)
    assert Fixed({(3, 6): math.exp(-2), (4, 6): 0.5}).normal(3, 6) == pytest.approx(-2.0)
    assert Fixed({(16, 6): math.exp(-8), (17, 6): 0.125}).normal(16, 6) == pytest.approx(
        4 / math.sqrt(2)
    )
    noise = Fixed({(3, 0): math.exp(-2), (4, 0): 0.5, (3, 1): math.exp(-0.5), (4, 1): 1.0})
    assert noise.vector(2, 0.5) == pytest.approx([-1.0, 0.5])


@pytest.mark.parametrize(
    ("u", "index", "margin"),
    [
        (0.1, 0, 0.4),
        (0.5, 1, 0.0),
        (0.49, 0, 0.01),
        (0.7, 1, 0.05),
        (0.75, 2, 0.0),
        (0.99, 2, 0.24),
    ],
)
def test_draw_by_hand(u, index, margin):
    """A boundary belongs to the entry after it; the weights need not sum to 1."""
    for scale in (1.0, 4.0):
        draw = Fixed({(0, 3): u}).draw([0.5 * scale, 0.25 * scale, 0.25 * scale], 3)
        assert draw.index == index and draw.margin == pytest.approx(margin, abs=1e-12)
    assert Fixed({(0, 0): u}).draw([0.2], 0) == (0, math.inf)


def gamma_uniforms(x: float, u: float, r: int = 0) -> dict[tuple[int, int], float]:
    """Uniforms that give round `r` the normal `x` and the uniform `u`."""
    sign = 0.5 if x < 0 else 1.0
    return {(16 + 3 * r, 0): math.exp(-x * x / 2), (17 + 3 * r, 0): sign, (18 + 3 * r, 0): u}


def test_gamma_accepts_by_hand():
    """a = 1/3: d = 1, k = 1/3; x = 1.5: v = 1.5^3 = 3.375, accepted below exp(1.125 - 2.375 + log
    v) = 0.9669."""
    noise = Fixed({(2, 0): 0.5} | gamma_uniforms(1.5, 0.96))
    found = noise.log_gamma(1 / 3, 0)
    assert found.value == pytest.approx(math.log(3.375) + 3 * math.log(0.5))
    assert found.slope == pytest.approx(3 * math.log(2))
    assert found.margin == pytest.approx(1.125 - 2.375 + math.log(3.375) - math.log(0.96))


def test_gamma_refuses_by_hand():
    """The same x with u = 0.97 is refused; so is x = -3.6, where v < 0; the third round, x = 0, is
    accepted."""
    rounds = gamma_uniforms(1.5, 0.97) | gamma_uniforms(-3.6, 0.5, 1) | gamma_uniforms(0.0, 0.5, 2)
    found = Fixed({(2, 0): 0.5} | rounds).log_gamma(1 / 3, 0)
    assert found.value == pytest.approx(0.0 + 3 * math.log(0.5))
    assert found.margin == pytest.approx(math.log(0.97) - (1.125 - 2.375 + math.log(3.375)))


def test_gamma_is_1_after_ten_refusals():
    rounds = {}
    for r in range(10):
        rounds |= gamma_uniforms(-4.0, 0.5, r)
    assert Fixed({(2, 0): 0.25} | rounds).log_gamma(4 / 3, 0).value == pytest.approx(
        math.log(2) + 0.75 * math.log(0.25)
    )


def test_dirichlet_normalises_gammas_by_token():
    noise = Noise(11, 4)
    weights, gammas = noise.dirichlet([2.0, 1.0], [30, 12])
    assert [g.value for g in gammas] == [
        noise.log_gamma(2.0, 30).value,
        noise.log_gamma(1.0, 12).value,
    ]
    assert weights[0] / weights[1] == pytest.approx(math.exp(gammas[0].value - gammas[1].value))
    assert math.fsum(weights) == pytest.approx(1.0)
    assert noise.dirichlet([0.001], [5]).weights == [1.0]
    assert softmax([-5000.0, -5000.0]) == [0.5, 0.5]


# --- statistics
# ---------------------------------------------------------------------------------------------

SIZE = 40_000
LANES = {
    "lane": lambda i: (1, 0, 0, i),
    "position": lambda i: (1, i, 0, 0),
    "seed": lambda i: (i, 0, 0, 0),
    "negative seed": lambda i: (-i, 0, 0, 0),
    "stream": lambda i: (1, 0, i, 0),
}


def uniforms(axis: str, n: int = SIZE) -> list[float]:
    return [
        Noise(seed, position).uniform(stream, lane)
        for seed, position, stream, lane in map(LANES[axis], range(n))
    ]


@pytest.mark.parametrize("axis", LANES)
def test_uniform_along_each_axis(axis):
    counts = [0] * 100
    for u in uniforms(axis):
        counts[int(u * 100)] += 1
    assert stats.chisquare(counts).pvalue > UNLIKELY
    assert stats.kstest(uniforms(axis, 5000), "uniform").pvalue > UNLIKELY


@pytest.mark.parametrize("axis", LANES)
@pytest.mark.parametrize("apart", [1, 2, 64])
def test_neighbours_along_each_axis_are_independent(axis, apart):
    """Chi-square of the pairs (u_i, u_{i + apart}) in a 10 x 10 grid, and their correlation."""
    u = uniforms(axis)
    counts = [0] * 100
    for a, b in zip(u, u[apart:]):
        counts[10 * int(a * 10) + int(b * 10)] += 1
    assert stats.chisquare(counts).pvalue > UNLIKELY
    r = stats.pearsonr(u[:-apart], u[apart:]).statistic
    assert abs(r) < 4 / math.sqrt(len(u) - apart)


@pytest.mark.parametrize(("first", "second"), combinations(LANES, 2))
def test_axes_are_independent_of_each_other(first, second):
    """The same index on two axes: one of them must not repeat, or mirror, the other."""
    pairs = list(islice(zip(uniforms(first, 10_000), uniforms(second, 10_000)), 1, None))
    assert sum(a == b for a, b in pairs) <= 3
    assert abs(stats.pearsonr(*zip(*pairs)).statistic) < 4 / math.sqrt(len(pairs))


def test_no_two_places_share_their_bits():
    places = product((-1, 0, 1, 2**62), range(8), (0, 1, 2, 3, 4, 16, 45), range(64))
    every = [bits(*place) for place in places]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("axis", ["lane", "position", "seed"])
def test_every_one_of_the_64_bits_is_a_fair_coin(axis):
    every = [bits(*LANES[axis](i)) for i in range(10_000)]
    for b in range(64):
        ones = sum(x >> b & 1 for x in every)
        assert abs(ones - 5000) < 4.5 * 50, b


def test_gumbel_moments_and_distribution():
    sample = [Noise(3, p).gumbel(lane) for p in range(100) for lane in range(300)]
    moments_within(sample, 0.5772156649, math.pi**2 / 6)
    assert stats.kstest(sample, "gumbel_r").pvalue > UNLIKELY


@pytest.mark.parametrize("stream", [3, 16, 43])
def test_normal_moments_and_distribution(stream):
    sample = [Noise(3, p).normal(stream, lane) for p in range(100) for lane in range(300)]
    moments_within(sample, 0.0, 1.0)
    assert stats.kstest(sample, "norm").pvalue > UNLIKELY


def test_vector_components_and_steps_are_uncorrelated():
    rows = [Noise(9, p).vector(64, 1.0) for p in range(300)]
    flat = [x for row in rows for x in row]
    for apart in (1, 2, 64):
        assert abs(stats.pearsonr(flat[:-apart], flat[apart:]).statistic) < 4 / math.sqrt(len(flat))
    moments_within([math.fsum(x * x for x in row) for row in rows], 64.0, 128.0)  # chi-square of 64


@pytest.mark.parametrize("a", [0.004, 0.1, 1 / 3, 1.0, 4.0, 10.0])
def test_gamma_distribution(a):
    """log g by the logarithm of a gamma variate; for a small `a` the boost is nearly all of it."""
    sample = [Noise(5, p).log_gamma(a, lane).value for p in range(60) for lane in range(100)]
    assert stats.kstest(sample, stats.loggamma(a).cdf).pvalue > UNLIKELY


@pytest.mark.parametrize(
    ("c", "q"),
    [(4.0, [0.5, 0.3, 0.2]), (1.0, [0.7, 0.2, 0.1]), (10.0, [0.9, 0.09, 0.01]), (0.3, [0.6, 0.4])],
)
def test_dirichlet_mean_variance_and_marginals(c, q):
    """E w = q, Var w = q (1 - q) / (c + 1), each marginal a Beta(c q, c (1 - q)); 4 standard
    errors."""
    rows = [Noise(8, p).dirichlet([c * x for x in q], range(len(q))).weights for p in range(6000)]
    for i, x in enumerate(q):
        column = [row[i] for row in rows]
        moments_within(column, x, x * (1 - x) / (c + 1))
        assert stats.kstest(column, stats.beta(c * x, c * (1 - x)).cdf).pvalue > UNLIKELY


def test_draw_frequencies():
    """Support first, then chi-square; for every number of the draw, over positions and over
    seeds."""
    q = [0.5, 0.25, 0.125, 0.1, 0.02, 0.005]
    n = 6000
    for place in (lambda i: Noise(1, i), lambda i: Noise(i, 0)):
        for number in (0, 1, 2):
            drawn = [place(i).draw(q, number).index for i in range(n)]
            counts = [drawn.count(i) for i in range(len(q))]
            assert all(counts) and sum(counts) == n
            assert stats.chisquare(counts, [n * p for p in q]).pvalue > UNLIKELY


def test_draws_of_a_step_are_independent():
    q = [0.4, 0.3, 0.2, 0.1]
    table = [[0] * 4 for _ in range(4)]
    for position in range(8000):
        noise = Noise(2, position)
        table[noise.draw(q, 0).index][noise.draw(q, 1).index] += 1
    assert stats.chi2_contingency(table).pvalue > UNLIKELY
