"""The embedding mixture's specification against float64."""

import kernel_cases as cases
import pytest
import torch
from kernel_oracle import make_pool
from sglang_soft_kernels.mixture.naive import embedding_mixture as operator

embedding_mixture = operator.naive


@pytest.mark.parametrize("case", cases.MIXTURES)
def test_equals_float64(case):
    cases.check_mixture(embedding_mixture, *case, "cpu")


@pytest.mark.parametrize("case", cases.MIXTURES)
def test_offsets(case):
    cases.check_offsets(embedding_mixture, *case, "cpu")


def test_ranks_add_up():
    cases.check_shards(embedding_mixture, "cpu")


def test_plain_rows_are_bits_of_the_table():
    table = torch.tensor([[-0.0, float("inf")], [1e-45, float("nan")]])
    rows = torch.zeros(2, dtype=torch.int64)
    ids, weights = torch.ones(1, 3, dtype=torch.int32), torch.zeros(1, 3)
    out = embedding_mixture(table, torch.tensor([0, 1]), rows, ids, weights)
    assert torch.equal(out.view(torch.int32), table.view(torch.int32))


def test_result_does_not_depend_on_the_batch():
    table = torch.randn(97, 1003)
    ids, weights = make_pool(64, 10, 97, seed=1)
    rows, tokens = torch.arange(64), torch.arange(64)
    whole = embedding_mixture(table, tokens, rows, ids, weights)
    for t in range(64):
        alone = embedding_mixture(table, tokens[t : t + 1], rows[t : t + 1], ids, weights)
        assert torch.equal(alone[0], whole[t])


def test_out_is_written():
    table = torch.randn(5, 4)
    out = torch.full((1, 4), float("nan"))
    weights = torch.tensor([[0.5, 0.5]])
    index = torch.zeros(1, dtype=torch.int64)
    ids = torch.tensor([[3, 1]], dtype=torch.int32)
    assert embedding_mixture(table, index, index, ids, weights, out=out) is out
    torch.testing.assert_close(out[0], (table[3] + table[1]) / 2)
