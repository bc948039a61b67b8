"""One step of the plugin without an engine: rows are independent, bit for bit, whatever else is in
the batch."""

import pytest
import torch

from sglang_soft import methods, params
from sglang_soft.params import Sampling
from sglang_soft.plan import plan_forward
from sglang_soft.pool import ConceptPool
from sglang_soft.request import SoftRequest, Step
from sglang_soft.step import concept_step
from sglang_soft.transfer import DeviceConcepts
from tests.soft_params import soft_params

HIDDEN = 16


def request(name: str, seed: int = 0, **changes) -> SoftRequest:
    method = methods.get(name)
    values = params.check({"method": name}, 32)
    values = {f.name: f.default for f in method.fields} | values
    return SoftRequest(
        soft_params(method=name, args=method.args(values), seed=seed, think_end_id=100, **changes)
    )


def run(
    requests: list[SoftRequest | None], logits: torch.Tensor, hidden: torch.Tensor, steps: int = 4
) -> list[tuple]:
    """Rows of every step: ids, weights, entropy, kind, vector. logits: [steps, B, V]; hidden:
    [steps, B, H]."""
    B = len(requests)
    pool = ConceptPool(B + 1, 32, "cpu", hidden_size=HIDDEN)
    rows = torch.arange(1, B + 1)
    pool.start(rows.tolist(), requests)
    plan = plan_forward(pool, rows, requests)
    outcomes = []
    for at in range(steps):
        step = concept_step(plan, logits[at], hidden[at] if plan.reads_hidden else None)
        tokens = torch.full((B,), 3)
        step.merge(tokens)
        step.advance(plan, tokens)
        DeviceConcepts.of(step, plan)
        feeding = torch.zeros(B, dtype=torch.bool) if step.has_vector is None else step.has_vector
        outcomes.append((step, tokens, feeding))
    return outcomes


def row(outcomes: list[tuple], b: int, width: int) -> list[tuple]:
    """What row b is fed and says, as plain values of `width` slots."""
    found = []
    for step, tokens, feeding in outcomes:
        record = step.record
        ids, weights = record.ids[b, :width].tolist(), record.weights[b, :width].tolist()
        used = [(i, w) for i, w in zip(ids, weights) if w != 0]
        vector = step.vector[b].tolist() if feeding[b] else None
        found.append(
            (used, record.entropy[b].item(), record.kind[b].item(), tokens[b].item(), vector)
        )
    return found


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(0)
    count = len(methods.names())
    logits = torch.randn(4, 3 * count, 111, generator=generator) * 3
    return logits, torch.randn(4, 3 * count, HIDDEN, generator=generator)


@pytest.mark.parametrize(
    "sampling", [Sampling(0.6, 0.95, 30, 0.001), Sampling(1.0, 1.0, -1, 0.0), Sampling(1, 1, 1, 0)]
)
def test_a_batch_of_all_methods_equals_each_alone(inputs, sampling):
    logits, hidden = inputs
    names = [*methods.names()] * 3
    batch = [request(name, seed, thinking=sampling) for seed, name in enumerate(names)]
    together = run(batch, logits, hidden)
    for b, (seed, name) in enumerate(enumerate(names)):
        alone = run(
            [request(name, seed, thinking=sampling)], logits[:, b : b + 1], hidden[:, b : b + 1]
        )
        assert row(together, b, 11) == row(alone, 0, 11), name


@pytest.mark.parametrize("name", methods.names())
def test_slots_in_use_come_first_and_weights_sum_to_one(inputs, name):
    logits, hidden = inputs
    B = logits.shape[1]
    for step, _, feeding in run([request(name, seed) for seed in range(B)], logits, hidden):
        concept = step.record.kind == Step.CONCEPT
        weights = step.record.weights[concept]
        used = weights != 0
        assert (used.int().diff(dim=1) <= 0).all(), "an unused slot in front of a used one"
        expected = torch.zeros(len(weights)) if name == "coconut_tf" else torch.ones(len(weights))
        assert torch.allclose(weights.sum(1), expected, atol=1e-6)
        assert feeding[concept].all() if methods.get(name).feeds_vector else not feeding.any()


def test_a_hard_row_beside_every_method_keeps_its_token(inputs):
    logits, hidden = inputs
    batch = [request(name) for name in methods.names()] + [None]
    for step, tokens, _ in run(batch, logits[:, : len(batch)], hidden[:, : len(batch)]):
        assert tokens[-1] == 3 and step.record.kind[-1] == Step.PLAIN


def test_a_method_that_is_not_in_the_batch_costs_nothing(inputs, monkeypatch):
    logits, hidden = inputs
    for name, method in methods.registry().items():
        if name != "soft":
            monkeypatch.setattr(
                type(method), "step", lambda *_: pytest.fail("a method without a request ran")
            )
    (step, *_), *_ = run([request("soft"), None], logits[:, :2], hidden[:, :2])
    assert (
        step.vector is None
        and step.record.state.shape == (2, 0)
        and step.record.ids.shape == (2, 10)
    )


def test_a_batch_of_answers_needs_no_step():
    """The host knows that they do not think any more; a request in flight may still say that it
    thinks."""
    answers = request("soft")
    answers.commit(100, Step.THINK_END, b"", 0.0, 0)
    pool, rows = ConceptPool(4, 32, "cpu"), torch.arange(1, 4)
    assert plan_forward(pool, rows[:2], [answers, None]) is None
    plan = plan_forward(pool, rows, [answers, None, request("cot")])
    assert plan is not None and [r is None for r in plan.requests] == [True, True, False]
    assert [m.name for m in plan.methods] == ["cot"]
