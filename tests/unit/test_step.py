"""One step of the plugin without an engine: rows are independent, bit for bit, whatever else is in
the batch, and rows that do not think are not computed."""

import pytest
import torch
from sglang_soft_kernels.layout import StepKind

from sglang_soft import methods
from sglang_soft.engine import step as step_module
from sglang_soft.engine.inputs import StepInputs, prepare
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.request import SoftRequest
from sglang_soft.engine.step import StepOutput, concept_step
from sglang_soft.params import Sampling
from tests.unit.soft_request import soft_request

HIDDEN = 16


def request(name: str, seed: int = 0, **changes) -> SoftRequest:
    """At the method's own default of max_topk."""
    k = methods.get(name).Params().max_topk
    return soft_request(name, seed=seed, think_end=(100,), max_topk=k, **changes)


def prepared(requests: list[SoftRequest | None]) -> StepInputs:
    pool = ConceptPool(len(requests) + 1, 32, "cpu", hidden_size=HIDDEN)
    rows = torch.arange(1, len(requests) + 1)
    pool.start(rows.tolist(), requests)
    return prepare(pool, rows, requests)


def run(
    requests: list[SoftRequest | None], logits: torch.Tensor, hidden: torch.Tensor, steps: int = 4
) -> list[tuple[StepOutput, torch.Tensor]]:
    """Output and tokens of every step. logits: [steps, N, V]; hidden: [steps, N, H]."""
    inputs, outcomes = prepared(requests), []
    for at in range(steps):
        step = concept_step(inputs, logits[at], hidden[at] if inputs.reads_hidden else None)
        tokens = torch.full((len(requests),), 3)
        step.overwrite_tokens(tokens)
        step.update_pool(tokens)
        outcomes.append((step, tokens))
    return outcomes


def row(outcomes: list[tuple], n: int) -> list[tuple]:
    """What row n of the batch is fed and says, as plain values."""
    found = []
    for step, tokens in outcomes:
        a, record = step.inputs.members.index(n), step.record
        pairs = zip(record.ids[a].tolist(), record.weights[a].tolist())
        used = [(i, w) for i, w in pairs if w != 0]
        fed = step.offsets is not None and step.has_offset[a]
        offset = step.offsets[a].tolist() if fed else None
        kind, entropy = record.kind[a].item(), record.entropy[a].item()
        found.append((used, entropy, kind, tokens[n].item(), offset))
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
    batch[7] = batch[20] = None
    together = run(batch, logits, hidden)
    for n, name in enumerate(names):
        if batch[n] is not None:
            one = [request(name, n, thinking=sampling)]
            alone = run(one, logits[:, n : n + 1], hidden[:, n : n + 1])
            assert row(together, n) == row(alone, 0), name


@pytest.mark.parametrize("name", methods.names())
def test_slots_in_use_come_first_and_weights_sum_to_one(inputs, name):
    logits, hidden = inputs
    for step, _ in run([request(name, seed) for seed in range(logits.shape[1])], logits, hidden):
        concept = step.record.kind == StepKind.CONCEPT
        weights = step.record.weights[concept]
        used = weights != 0
        assert (used.int().diff(dim=1) <= 0).all(), "an unused slot before a used one"
        latent = ("coconut_tf", "latent_mas", "later")
        expected = torch.zeros(len(weights)) if name in latent else torch.ones(len(weights))
        assert torch.allclose(weights.sum(1), expected, atol=1e-6)
        if methods.get(name).feeds_offset:
            assert step.has_offset[concept].all()
        else:
            assert step.offsets is None


def test_discrete_rows_next_to_every_method_keep_their_tokens(inputs):
    logits, hidden = inputs
    batch = [None, *(request(name) for name in methods.names()), None]
    for step, tokens in run(batch, logits[:, : len(batch)], hidden[:, : len(batch)]):
        assert tokens[0] == tokens[-1] == 3
        assert 0 not in step.inputs.members and len(step.record.packed) == len(batch) - 2


def test_one_thinking_row_of_many_is_all_that_is_computed(inputs, monkeypatch):
    logits, hidden = inputs
    seen = []
    for name in ("soft_sample", "finish_step"):
        original = getattr(step_module, name)

        def spy(*args, original=original, **kwargs):
            seen.append(kwargs["index"].tolist())
            return original(*args, **kwargs)

        monkeypatch.setattr(step_module, name, spy)
    batch = [None] * 36
    batch[17] = request("soft")
    alone = run([request("soft")], logits[:, 17:18], hidden[:, 17:18], steps=0)
    outcomes = run(batch, logits, hidden, steps=1)
    assert seen == [[17], [17]] and outcomes[0][0].record.packed.shape[0] == 1
    assert not alone


def test_a_method_that_is_not_in_the_batch_costs_nothing(inputs, monkeypatch):
    logits, hidden = inputs
    for name, method in methods.registry().items():
        if name != "soft":
            monkeypatch.setattr(
                type(method), "step", lambda *_: pytest.fail("a method without a request ran")
            )
    (step, _), *_ = run([request("soft"), None], logits[:, :2], hidden[:, :2])
    assert step.offsets is None
    assert step.record.state.shape == (1, 0) and step.record.ids.shape == (1, 10)


def test_a_batch_of_answers_needs_no_step():
    """The host knows that they do not think any more; a request in flight may still say so."""
    answers = request("soft")
    row = torch.zeros(10, dtype=torch.int32).numpy(), torch.zeros(10).numpy()
    answers.commit(100, StepKind.STOP_TOKEN, *row, 0.0, 0, torch.zeros(0).numpy())
    assert not prepared([answers, None]).requests
    inputs = prepared([answers, None, request("cot")])
    assert inputs.members == [2] and [m.name for m in inputs.methods] == ["cot"]
    assert inputs.index.tolist() == [2] and inputs.rows.tolist() == [3]


def test_what_the_host_takes_is_a_copy_of_the_hidden_state(inputs):
    """SGLang's tensor may be a static buffer that the next replay of a graph overwrites."""
    logits, hidden = inputs
    batch = [request("coconut_tf"), request("coconut_tf")]
    ((step, _),) = run(batch, logits[:, :2], state := hidden[:, :2].clone(), steps=1)
    before = step.offsets.clone()
    state.fill_(7)
    assert torch.equal(step.offsets, before)
