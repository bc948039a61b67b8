"""SGLang draws a token for a row unless every row thinks, which the host can see on a CPU."""

from types import SimpleNamespace

import pytest
import torch

from sglang_soft.plan import plan_forward
from sglang_soft.pool import ConceptPool
from sglang_soft.request import SoftRequest, Step
from sglang_soft.step import concept_step
from tests.soft_params import soft_params


@pytest.fixture
def draws(monkeypatch) -> list[int]:
    """Batch sizes that SGLang drew for; it draws token 1."""
    from sglang.srt.layers.sampler import Sampler

    drawn = []

    def sample(self, probs, *args):
        drawn.append(len(probs))
        return torch.ones(len(probs), dtype=torch.int32), None

    monkeypatch.setattr(Sampler, "_sample_from_probs", sample)
    return drawn


def sample(requests: list[SoftRequest | None], mask_rows=None) -> torch.Tensor:
    """Tokens of one step in which token 3 is the most probable one of every row."""
    from sglang_soft.hooks.sampler import SoftSampler

    pool, rows = ConceptPool(len(requests) + 1, 10, "cpu"), torch.arange(1, len(requests) + 1)
    pool.start(rows.tolist(), requests)
    logits = torch.zeros(len(requests), 16)
    logits[:, 3] = 9.0
    sampler = SoftSampler.__new__(SoftSampler)  # its own __init__ wants SGLang's process groups
    torch.nn.Module.__init__(sampler)
    plan = plan_forward(pool, rows, requests)
    sampler._step = concept_step(plan, logits) if plan else None
    info = SimpleNamespace(sampling_mask_batch_indices=mask_rows)
    tokens, _ = sampler._sample_from_probs(logits.softmax(1), info, None, False)
    sampler.merge(tokens)
    return tokens


def thinker(**changes) -> SoftRequest:
    return SoftRequest(soft_params(**changes))


def test_nothing_is_drawn_where_every_row_thinks(draws):
    assert sample([thinker(), thinker()]).tolist() == [3, 3] and draws == []


def test_rows_that_do_not_think_get_what_sglang_draws(draws):
    waits, answers = thinker(starts_thinking=False), thinker()
    answers.commit(8, Step.THINK_END, b"", 0.0, 0)
    assert sample([thinker(), None]).tolist() == [3, 1]
    assert sample([thinker(), waits, answers]).tolist() == [3, 1, 1]
    assert sample([answers, None]).tolist() == [1, 1], "without a plan"
    assert draws == [2, 3, 2]


def test_a_sampling_mask_is_sglangs_to_make(draws):
    assert sample([thinker()], mask_rows=torch.tensor([0])).tolist() == [3] and draws == [1]
