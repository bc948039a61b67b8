"""The device's noise is the oracle's, number for number, and methods that draw have the
distributions they promise."""

import math

import pytest
import torch
from scipy import stats
from sglang_soft_kernels import Drawn, SoftSample, layout

from sglang_soft.methods import noise
from sglang_soft.methods.base import StepContext
from sglang_soft.methods.moi import MixtureOfInputs
from sglang_soft.methods.multiplex import Multiplex
from sglang_soft.methods.soft_dirichlet import SoftDirichlet
from sglang_soft.methods.soft_gumbel import SoftGumbel
from tests.oracle import noise as oracle

PROBS = torch.tensor([0.5, 0.25, 0.15, 0.1])
MANY = 20_000
SIGNIFICANCE = 1e-4
"""Seeds are fixed: a test that passes once passes always."""


def context(
    args: dict[str, float],
    rows: int = MANY,
    k: int = 4,
    probs: torch.Tensor = PROBS,
    seed: int = 7,
) -> StepContext:
    """`rows` steps of one request: steps 0, 1, ... of one seed, all with the same distribution."""
    steps = torch.arange(rows)
    ids = torch.arange(10, 10 + len(probs), dtype=torch.int32).expand(rows, -1)
    ints = torch.zeros(rows, layout.INT_COLUMNS, dtype=torch.int32)
    ints[:, layout.MAX_TOPK], ints[:, layout.MAX_NEW_TOKENS] = k, 64
    ints[:, layout.THINK_STEP] = steps
    sample = SoftSample(
        ids=ids, weights=probs.expand(rows, -1), entropy=torch.zeros(rows),
        max_prob=probs.max().expand(rows), unfiltered=None,
    )  # fmt: skip
    source = noise.Noise(torch.full((rows,), seed), steps)
    ranks = source.draw(probs.expand(rows, -1), k).int()
    drawn = Drawn(ids.gather(1, ranks.long()), ranks, probs[ranks.long()])
    sample = sample._replace(drawn=drawn)
    return StepContext(
        sample=sample, logits=lambda: probs.log().expand(rows, -1), ints=ints,
        floats=torch.ones(rows, 4), args=torch.tensor([[*args.values()]]).expand(rows, -1),
        names=list(args), state=torch.zeros(rows, 1),
        noise=source, k=k, hidden=None, hidden_size=8,
        embedding_rms=1.0,
    )  # fmt: skip


def by_token(ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """[rows, 4]: the weight of each token, wherever its slot is."""
    return torch.zeros(len(ids), 4).scatter_add_(1, ids.long() - 10, weights)


def chi_square(counts: torch.Tensor, probs: torch.Tensor) -> float:
    counts, probs = counts.double(), probs.double()
    return stats.chisquare(counts.numpy(), (probs / probs.sum() * counts.sum()).numpy()).pvalue


@pytest.mark.parametrize("seed", [0, 1, -1, 2**62 + 3, -(2**63), 2**63 - 1])
def test_uniforms_are_the_oracles_exactly(seed):
    positions, lanes = torch.tensor([0, 1, 2, 77, 100_000]), torch.tensor([0, 1, 5, 151_935, 2**31])
    ours = noise.Noise(torch.full((5,), seed), positions)
    for stream in (noise.DRAW, noise.GUMBEL, noise.GAMMA + 29, noise.FREE):
        for row, position in zip(ours.uniform(stream, lanes).tolist(), positions.tolist()):
            theirs = oracle.Noise(seed, position)
            assert row == [theirs.uniform(stream, lane) for lane in lanes.tolist()]


def test_parallel_samples_get_seeds_of_their_own():
    seeds = [noise.sample_seed(5, sample) for sample in range(100)]
    assert seeds[0] == 5 and len(set(seeds)) == 100
    assert all(0 <= seed < 2**53 for seed in seeds), "JavaScript's numbers hold no more"
    assert noise.sample_seed(-1, 0) == -1 and noise.sample_seed(5, 1) != noise.sample_seed(6, 1)


def test_draws_stay_in_the_support_and_have_its_probabilities():
    probs = torch.tensor([0.5, 0.3, 0.2, 0.0, 0.0])
    drawn = context({}, probs=probs).noise.draw(probs.expand(MANY, -1), 3)
    for lane in range(3):
        counts = drawn[:, lane].bincount(minlength=5)
        assert counts[3:].sum() == 0
        assert chi_square(counts[:3], probs[:3]) > SIGNIFICANCE
    pairs = (drawn[:, 0] * 3 + drawn[:, 1]).bincount(minlength=9)
    assert chi_square(pairs, torch.outer(probs[:3], probs[:3]).flatten()) > SIGNIFICANCE, (
        "draws of a step depend"
    )


def test_gumbel_and_normal_moments():
    source = context({}).noise
    gumbel = source.gumbel(noise.GUMBEL, torch.arange(8)).double()
    for got, want, spread in (
        (gumbel.mean(), 0.5772156649, math.pi / math.sqrt(6)),
        (gumbel.var(), math.pi**2 / 6, math.sqrt(4.4) * math.pi**2 / 6),  # excess kurtosis 2.4
    ):
        assert abs(got - want) < 4 * spread / math.sqrt(gumbel.numel())
    normal = source.normal(noise.NORMAL, torch.arange(8)).flatten().double()
    assert stats.kstest(normal.numpy(), "norm").pvalue > SIGNIFICANCE


@pytest.mark.parametrize("gamma", [0.2, 1.0, 4.0, 50.0])
def test_dirichlet_moments(gamma):
    step = SoftDirichlet().step(context({"dirichlet_gamma": gamma}))
    weights = by_token(step.ids, step.weights).double()
    variance = PROBS * (1 - PROBS) / (gamma + 1)
    error = 4 * (variance / MANY).sqrt()
    assert ((weights.mean(0) - PROBS).abs() < error).all()
    for token, share in enumerate(PROBS.tolist()):  # the marginals are Beta
        marginal = stats.beta(gamma * share, gamma * (1 - share))
        kurtosis = float(marginal.stats(moments="k"))
        spread = float(variance[token]) * math.sqrt((kurtosis + 2) / MANY)
        assert abs(float(weights[:, token].var()) - float(variance[token])) < 5 * spread
    assert torch.equal(step.output_token, step.ids[:, 0])


def test_gumbel_softmax_puts_each_token_first_as_often_as_it_is_probable():
    step = SoftGumbel().step(context({"gumbel_temperature": 0.5}))
    assert chi_square((step.output_token - 10).bincount(minlength=4), PROBS) > SIGNIFICANCE
    assert torch.allclose(step.weights.sum(1), torch.ones(MANY), atol=1e-6)


def test_moi_draws_its_token_and_gives_it_the_weight_of_the_formula():
    beta, h = 1.0, float(stats.entropy(PROBS)) / math.log(4)
    step = MixtureOfInputs().step(context({"moi_beta": beta}))
    assert chi_square((step.output_token - 10).bincount(minlength=4), PROBS) > SIGNIFICANCE
    weights = by_token(step.ids, step.weights)
    own = weights.gather(1, (step.output_token.long() - 10)[:, None])[:, 0]
    expected = (h * PROBS[step.output_token.long() - 10] + beta + 1 - h) / (beta + 1)
    assert torch.allclose(own, expected, atol=1e-6)


def test_multiplex_counts_are_multinomial():
    step = Multiplex().step(context({"multiplex_weighting": 0.0, "multiplex_token": 0.0}, k=3))
    assert chi_square((step.output_token - 10).bincount(minlength=4), PROBS) > SIGNIFICANCE
    counts = (by_token(step.ids, step.weights) * 3).round()
    assert (counts.sum(1) == 3).all()
    assert chi_square(counts.sum(0), PROBS) > SIGNIFICANCE
    three = (counts == 3).sum(0).double()
    expected = MANY * PROBS.double() ** 3
    assert ((three - expected).abs() < 5 * expected.sqrt()).all()
