"""Log-densities, the engine's (methods/density.py) and the trainer's (rollout/formulas.py), against
torch.distributions and scipy."""

import math

import pytest
import torch
from scipy.special import betaln
from torch import Tensor, tensor
from torch.distributions import Categorical, Dirichlet, Normal
from torch.distributions.relaxed_categorical import ExpRelaxedCategorical

from sglang_soft import methods
from sglang_soft.methods import density
from sglang_soft.resolve import resolve
from sglang_soft.rollout import formulas
from tests.unit.soft_request import SAMPLING

ROWS, K, V, H = 12, 6, 40, 16
TEMPERATURES = (0.3, 0.5, 2.0)
LEAST = math.log(2.0**-126)


@pytest.fixture
def probs() -> Tensor:
    """[ROWS, K] float32; the last slot of every other row is unused."""
    torch.manual_seed(0)
    drawn = torch.randn(ROWS, K).mul(2).softmax(1)
    drawn[::2, -1] = 0
    return (drawn / drawn.sum(1, keepdim=True)).sort(1, descending=True).values


def by_row(probs: Tensor, weights: Tensor, of) -> Tensor:
    """of(log p, log w) of the used slots of each row, float64."""
    rows = zip(probs.double(), weights.double(), strict=True)
    return torch.stack([of(p[p > 0].log(), w[p > 0].log()) for p, w in rows])


def column(value: float) -> Tensor:
    return torch.full((ROWS,), value)


@pytest.mark.parametrize("t", TEMPERATURES)
def test_concrete(probs, t):
    noise = -torch.log(-torch.log(torch.rand(ROWS, K)))
    weights = ((probs.log() + noise) / t).softmax(1)
    assert (weights[probs > 0] >= 2.0**-126).all()

    def reference(log_p: Tensor, log_w: Tensor) -> Tensor:
        return ExpRelaxedCategorical(tensor(t).double(), logits=log_p).log_prob(log_w)

    expected = by_row(probs, weights, reference)
    found = (
        density.concrete(weights, probs, column(t)),
        formulas.of_concrete(probs.double().log(), weights, t),
    )
    for ours in found:
        torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gamma", [1.0, 4.0, 1000.0])
def test_dirichlet(probs, gamma):
    probs = probs.clamp(min=0.02) * (probs > 0)  # so that no weight is too small
    probs = probs / probs.sum(1, keepdim=True)
    weights = torch.zeros_like(probs)
    for row, p in zip(weights, probs, strict=True):
        row[p > 0] = Dirichlet((gamma * p[p > 0]).double()).sample().float().clamp(min=1e-30)

    def reference(log_p: Tensor, log_w: Tensor) -> Tensor:
        w = log_w.exp()
        return Dirichlet(gamma * log_p.exp()).log_prob(w / w.sum()) + log_w.sum()

    expected = by_row(probs, weights, reference)
    found = (
        density.dirichlet(weights, probs, column(gamma)),
        formulas.of_dirichlet(probs.double().log(), weights, gamma),
    )
    for ours in found:
        torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-3)


def test_a_weight_that_float32_does_not_hold_counts_by_its_probability():
    """Of two tokens, one of which has a weight below 2^-126. Gumbel: log w2 - log w1 = (log p2 -
    log p1 + a logistic variate) / t. Dirichlet: the distribution function of Beta at 2^-126."""
    p, t, gamma = tensor([[0.999, 0.001]]), 0.05, 2.0
    w = tensor([[1.0, 1e-42]])  # a denormal of the CPU, 0 on a GPU
    margin = t * LEAST - math.log(0.001 / 0.999)
    logistic = -math.log1p(math.exp(-margin))
    a, b = gamma * 0.001, gamma * 0.999
    beta = a * LEAST - math.log(a) - float(betaln(a, b))
    for weights in (w, tensor([[1.0, 0.0]])):
        for found, expected in (
            (density.concrete(weights, p, tensor([t])), logistic),
            (formulas.of_concrete(p.double().log(), weights, t), logistic),
            (density.dirichlet(weights, p, tensor([gamma])), beta),
            (formulas.of_dirichlet(p.double().log(), weights, gamma), beta),
        ):
            assert float(found) == pytest.approx(expected, rel=1e-4)
    assert -3 < logistic < -0.001 and -3 < beta < -0.001, "the probabilities are not trivial"


@pytest.mark.parametrize(
    ("name", "parameter"),
    [("gumbel", 0.5), ("gumbel", 0.02), ("dirichlet", 4.0), ("dirichlet", 0.05)],
)
def test_the_gradient_of_a_log_density_has_mean_zero(name, parameter):
    """So it is the density of what is drawn, small weights included."""
    torch.manual_seed(1)
    n = 40_000
    log_p = tensor([0.55, 0.25, 0.15, 0.05]).log().repeat(n, 1).double().requires_grad_()
    log_q = log_p.log_softmax(1)
    if name == "gumbel":
        g = -torch.log(-torch.log(torch.rand(n, 4, dtype=torch.float64)))
        weights = ((log_q.detach() + g) / parameter).softmax(1).float()
        found = formulas.of_concrete(log_q, weights, parameter)
    else:  # in logarithms: torch's own sampler cuts small weights off
        a = parameter * log_q.detach().exp()
        u = torch.rand(n, 4, dtype=torch.float64)
        log_x = torch.distributions.Gamma(a + 1, torch.ones_like(a)).sample().log() + u.log() / a
        weights = log_x.softmax(1).float()
        found = formulas.of_dirichlet(log_q, weights, parameter)
    small = (weights < 2.0**-126).double().mean()
    assert (small > 0.2) == (parameter in (0.02, 0.05)), "weights that are too small"
    (gradient,) = torch.autograd.grad(found.sum(), log_p)
    error = gradient.std(0) / n**0.5
    assert (gradient.mean(0).abs() < 4 * error).all(), (gradient.mean(0), error)
    assert (gradient.std(0) > 0.05).all(), "nothing was tested"


def test_normal():
    offset, sigma = torch.randn(ROWS, H) * 0.3, torch.rand(ROWS) + 0.1
    sigma[0] = 0
    found = density.normal(offset, sigma)
    expected = Normal(0.0, sigma[1:, None].double()).log_prob(offset[1:].double()).sum(1)
    torch.testing.assert_close(found[1:].double(), expected, rtol=1e-6, atol=1e-5)
    assert found[0] == 0


def test_noise_around_a_mixture():
    table, log_p = torch.randn(V, H), torch.randn(ROWS, 3).log_softmax(1).double()
    tokens, vectors = torch.randint(V, (ROWS, 3)), torch.randn(ROWS, H)
    found = formulas.of_normal(log_p, tokens, table, vectors, 0.5)
    mean = torch.einsum("rk,rkh->rh", log_p.exp(), table.double()[tokens])
    sigma = 0.5 * float(table.double().square().mean()) ** 0.5
    expected = Normal(mean, sigma).log_prob(vectors.double()).sum(1)
    torch.testing.assert_close(found, expected)
    assert not formulas.of_normal(log_p, tokens, table, vectors, 0.0).any()


def test_draws_from_everything_and_from_a_nucleus():
    logits = torch.randn(ROWS, V)
    drawn = torch.randint(V, (ROWS, 3))
    every = formulas.Filter(0.7, -1, 1.0, 0.0, V)
    expected = Categorical(logits=(logits.double() / 0.7)[:, None]).log_prob(drawn).sum(1)
    torch.testing.assert_close(formulas.of_draws(logits, drawn, every), expected)
    missing = torch.cat([drawn, torch.full((ROWS, 1), -1)], 1)
    torch.testing.assert_close(formulas.of_draws(logits, missing, every), expected)
    row = tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    none = torch.full((1, 1), -1)
    for keep, left in (
        (formulas.Filter(1.0, -1, 0.7, 0.0, 4), [0.5, 0.3]),
        (formulas.Filter(1.0, 3, 1.0, 0.0, 4), [0.5, 0.3, 0.15]),
        (formulas.Filter(1.0, -1, 1.0, 0.2, 4), [0.5, 0.3, 0.15]),
        (formulas.Filter(1.0, -1, 1.0, 0.0, 1), [0.5]),
        (formulas.Filter(1.0, 3, 0.8, 0.0, 4), [0.5, 0.3]),
    ):
        found = formulas.log_filtered(row, keep, none).exp()[0]
        want = tensor(left + [0.0] * (4 - len(left))).double() / sum(left)
        torch.testing.assert_close(found, want, rtol=1e-6, atol=1e-9)
    kept = formulas.log_filtered(row, formulas.Filter(1.0, 1, 1.0, 0.0, 4), tensor([[3]])).exp()
    torch.testing.assert_close(kept[0], tensor([10 / 11, 0, 0, 1 / 11]).double(), rtol=1e-6, atol=0)


def test_weights_in_the_order_of_the_candidates():
    ids = tensor([[7, 3, 5, 7]], dtype=torch.int32)
    probs = tensor([[0.5, 0.3, 0.2, 0.0]])  # the unused slot repeats the first id
    fed = tensor([[5, 7, 3, 9]], dtype=torch.int32), tensor([[0.6, 0.3, 0.1, 0.0]])
    found = density.weights_of(ids, probs, *fed)
    assert found.tolist() == tensor([[0.3, 0.1, 0.6, 0.0]]).tolist()


def test_a_method_that_draws_without_saying_how_probable_it_was_cannot_roll_out(monkeypatch):
    cot = type(methods.get("cot"))
    monkeypatch.setattr(cot, "log_prob", methods.Method.log_prob)
    raw = {"method": "cot", "return_rollout": True}
    with pytest.raises(ValueError, match=r"return_rollout.*method cot"):
        resolve(raw, request=SAMPLING, default=None, max_k=32)
    assert resolve(raw | {"method": "soft"}, request=SAMPLING, default=None, max_k=32)


@pytest.mark.parametrize("name", ["soft_gumbel", "soft_dirichlet", "soft_noise", "multiplex"])
def test_rounded_weights_have_no_density(name):
    raw = {"method": name, "return_rollout": True, "weight_bits": 8}
    if name == "multiplex":  # its draws have probabilities
        assert resolve(raw, request=SAMPLING, default=None, max_k=32)
        return
    with pytest.raises(ValueError, match=r"return_rollout.*weight_bits=8"):
        resolve(raw, request=SAMPLING, default=None, max_k=32)
