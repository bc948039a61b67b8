"""Thinking in hidden states without an engine: norms, realignment, and when LaTER leaves."""

import pytest
import torch

from sglang_soft.engine import realignment, unsupported
from sglang_soft.engine.inputs import prepare
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.request import SoftRequest
from sglang_soft.engine.step import StepOutput, concept_step
from sglang_soft.methods import get
from tests.unit.soft_request import soft_request

HIDDEN, V, NORM, STOP = 16, 50, 2.5, 7
W = torch.randn(HIDDEN, HIDDEN, generator=torch.Generator().manual_seed(1))


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3


def run(requests: list[SoftRequest], hidden: torch.Tensor, logits: torch.Tensor, matrix=W):
    """One output a step. hidden: [steps, N, H]; logits: [steps, N, V]."""

    def realign() -> torch.Tensor:
        assert matrix is not None, "nobody asked for it"
        return matrix

    pool = ConceptPool(
        len(requests) + 1, 16, "cpu", hidden_size=HIDDEN, embedding_norm=NORM,
        realignment=realign, token_ids={"stops latent": {STOP}},
    )  # fmt: skip
    rows = torch.arange(1, len(requests) + 1)
    pool.start(rows.tolist(), requests)
    inputs = prepare(pool, rows, requests)
    found: list[StepOutput] = []
    for h, z in zip(hidden, logits, strict=True):
        step = concept_step(inputs, z, h)
        tokens = torch.zeros(len(requests), dtype=torch.int64)
        step.overwrite_tokens(tokens)
        step.update_pool(tokens)
        found.append(step)
    return found


def matched(x: torch.Tensor) -> torch.Tensor:
    return NORM * x / x.norm(dim=1, keepdim=True)


def test_hidden_states_are_fed_at_the_norm_of_a_row():
    hidden, logits = draw(1, 3, HIDDEN), draw(1, 3, V)
    hidden[0, 2] = 0
    (step,) = run([soft_request("latent_mas") for _ in range(3)], hidden, logits, matrix=None)
    assert torch.allclose(step.offsets[:2], matched(hidden[0, :2]), atol=1e-6)
    assert not step.offsets[2].any() and not step.record.weights.any()
    assert step.record.token.tolist() == logits[0].argmax(1).tolist()
    assert step.has_offset.all()


def test_a_request_is_realigned_if_it_asks():
    hidden, logits = draw(1, 2, HIDDEN), draw(1, 2, V)
    requests = [soft_request("latent_mas", latent_realign=on) for on in (True, False)]
    (step,) = run(requests, hidden, logits)
    assert torch.allclose(step.offsets[0], matched(hidden[0] @ W)[0], atol=1e-5)
    assert torch.allclose(step.offsets[1], matched(hidden[0])[1], atol=1e-6)


def latent(*steps: dict, tokens: int = 3, entropy: float = 3.0, **changes) -> list[bool]:
    """Whether each step fed the hidden state. steps: logits of tokens; the others have -9."""
    logits = torch.full((len(steps), 1, V), -9.0)
    for at, values in enumerate(steps):
        for token, value in values.items():
            logits[at, 0, token] = value
    request = soft_request(
        "later", later_tokens=tokens, later_entropy=entropy, cold_stop_entropy=0.0, **changes
    )
    hidden = draw(len(steps), 1, HIDDEN)
    found = run([request], hidden, logits, matrix=None)
    fed = [bool(step.record.weights[0, 0] == 0) for step in found]
    for step, h, on in zip(found, hidden, fed, strict=True):
        offset = matched(h) if on else torch.zeros_like(h)
        assert torch.allclose(step.offsets, offset, atol=1e-6)
        assert step.record.state.tolist() == [[float(on)]]
        assert on or step.record.weights[0, 0] == 1
        assert not on or step.record.token[0] == step.record.ids[0, 0]
    return fed


SURE, UNSURE, STOPS = {5: 5.0}, {5: -8.9}, {STOP: 5.0, 5: 4.0}


def test_later_leaves_after_its_tokens():
    assert latent(SURE, SURE, SURE, SURE, SURE) == [True, True, True, False, False]
    assert latent(SURE, SURE, tokens=0) == [False, False]


def test_later_leaves_for_good_where_the_model_is_unsure():
    assert latent(SURE, UNSURE, SURE) == [True, False, False]
    assert latent(UNSURE, SURE) == [True, True], "step 0 is not asked"
    assert latent(SURE, UNSURE, SURE, entropy=4.0) == [True, True, True]  # log 50 is 3.9


def test_later_leaves_at_a_token_of_the_class():
    assert latent(SURE, STOPS, SURE) == [True, False, False]
    assert latent(STOPS, SURE) == [True, True], "step 0 is not asked"
    assert latent(SURE, STOPS, SURE, later_stop="none") == [True, True, True]


def test_log_probabilities_of_the_discrete_part():
    logits = draw(3, 1, V) / 10
    request = soft_request("later", later_tokens=1, later_entropy=1000.0, return_rollout=True)
    first, second, third = run([request], draw(3, 1, HIDDEN), logits, matrix=None)
    assert first.draw.tokens.tolist() == [[-1]] and first.draw.log_prob.tolist() == [0]
    for step in (second, third):
        assert step.draw.tokens[0, 0] == step.record.token[0] and step.draw.log_prob[0] < 0


# --- realignment


def solved(u: torch.Tensor, e: torch.Tensor, size: int) -> torch.Tensor:
    rows = zip(u.split(size), e.split(size), strict=True)
    return realignment.solve(realignment.sum_of_products(rows, e))


def test_realignment_is_the_least_squares_solution():
    u, e = draw(90, HIDDEN, seed=1), draw(90, HIDDEN, seed=2)
    exact = torch.linalg.lstsq(u.double(), e.double()).solution.float()
    for size in (90, 32, 7):
        assert torch.allclose(solved(u, e, size), exact, atol=1e-5)
    assert torch.allclose(solved(e, e, 32), torch.eye(HIDDEN), atol=1e-5)


def test_products_of_shards_add_up():
    u, e = draw(64, HIDDEN, seed=1), draw(64, HIDDEN, seed=2)
    shards = [slice(0, 40), slice(40, 64)]
    sums = [realignment.sum_of_products([(u[s], e[s])], e) for s in shards]
    assert torch.allclose(realignment.solve(sums[0] + sums[1]), solved(u, e, 64), atol=1e-5)


def test_without_an_output_head_a_request_for_it_is_refused(monkeypatch):
    class Runner:
        class soft:
            no_realignment = "Model has 0 candidates for its output head"

    monkeypatch.setattr(unsupported, "_runners", [Runner()])
    method = get("latent_mas")
    unsupported.check_method(method.Params(), method)
    unsupported.check_method(get("soft").Params(), get("soft"))
    with pytest.raises(ValueError, match="latent_realign=true is not possible .*: Model has 0"):
        unsupported.check_method(method.Params(latent_realign=True), method)
