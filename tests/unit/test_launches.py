"""What a decode step launches on a GPU, counted without one: kernels are recorded in place of being
run, and so is every other operator that does work on the device."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sglang_soft.engine.inputs import prepare
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.step import concept_step
from tests.unit.soft_request import soft_request


class Launches(TorchDispatchMode):
    """Names of operators, without views and allocations, and of kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        returns = func._schema.returns
        aliases = [r.alias_info for r in returns]
        view = returns and all(a is not None and not a.is_write for a in aliases)
        if not view and not func.name().startswith("aten::empty"):
            self.names.append(func.name())
        return func(*args, **(kwargs or {}))


class RecordedKernel:
    def __init__(self, name: str, launches: Launches) -> None:
        self._name, self._launches = name, launches

    def __getitem__(self, grid):
        return lambda *args, **kwargs: self._launches.names.append(self._name)


@pytest.fixture
def launches(monkeypatch) -> Launches:
    from sglang_soft_kernels import dispatch
    from sglang_soft_kernels.index import identity
    from sglang_soft_kernels.sampling import triton as sampling
    from sglang_soft_kernels.state import triton as state

    identity(64, torch.device("cpu"))  # made once a server
    found = Launches()
    monkeypatch.setattr(dispatch, "uses_triton", lambda tensor: True)
    for module in (sampling, state):
        for name in [name for name in vars(module) if name.endswith("_kernel")]:
            kernel = RecordedKernel(name.removesuffix("_kernel"), found)
            monkeypatch.setattr(module, name, kernel)
    return found


def step(requests: list, launches: Launches) -> list[str]:
    """Names of what one decode step launches."""
    pool, rows = ConceptPool(len(requests) + 1, 32, "cpu"), torch.arange(1, len(requests) + 1)
    pool.start(rows.tolist(), requests)
    inputs = prepare(pool, rows, requests)
    logits, tokens = torch.randn(len(requests), 111), torch.zeros(len(requests), dtype=torch.int64)
    with launches:
        output = concept_step(inputs, logits)
        output.overwrite_tokens(tokens)
        output.update_pool(tokens)
    return launches.names


KERNELS = ["scan", "finish", "finish_step", "overwrite_tokens", "update_pool"]


def test_a_soft_step_is_five_kernels_and_one_gather(launches):
    assert step([soft_request() for _ in range(8)], launches) == ["aten::index.Tensor", *KERNELS]


def test_discrete_requests_next_to_soft_ones_add_nothing_to_a_step(launches):
    assert step([soft_request(), None] * 4, launches) == ["aten::index.Tensor", *KERNELS]
