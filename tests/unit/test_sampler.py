"""SGLang draws a token for a row unless every row thinks, which the host can see on a CPU."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sglang_soft_kernels.layout import StepKind

from sglang_soft.engine.inputs import prepare
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.request import SoftRequest
from sglang_soft.engine.step import concept_step
from tests.unit.soft_request import soft_request


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
    inputs = prepare(pool, rows, requests)
    sampler.step = concept_step(inputs, logits) if inputs.requests else None
    info = SimpleNamespace(sampling_mask_batch_indices=mask_rows)
    tokens, _ = sampler._sample_from_probs(logits.softmax(1), info, None, False)
    if sampler.step is not None:
        sampler.step.overwrite_tokens(tokens)
    return tokens


def answering() -> SoftRequest:
    request = soft_request()
    row = np.zeros(10, np.int32), np.zeros(10, np.float32)
    request.commit(8, StepKind.STOP_TOKEN, *row, 0.0, 0, np.zeros(0, np.float32))
    return request


def test_nothing_is_drawn_where_every_row_thinks(draws):
    assert sample([soft_request(), soft_request()]).tolist() == [3, 3] and draws == []


def test_rows_that_do_not_think_get_what_sglang_draws(draws):
    waits, answers = soft_request(starts_thinking=False), answering()
    assert sample([soft_request(), None]).tolist() == [3, 1]
    assert sample([soft_request(), waits, answers]).tolist() == [3, 1, 1]
    assert sample([soft_request(), waits]).tolist() == [3, 1]
    assert sample([answers, None]).tolist() == [1, 1], "without a step"
    assert draws == [2, 3, 2, 2]


def test_a_sampling_mask_is_sglangs_to_make(draws):
    assert sample([soft_request()], mask_rows=torch.tensor([0])).tolist() == [3] and draws == [1]
