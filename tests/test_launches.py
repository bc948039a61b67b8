"""What a decode step launches on a GPU, counted without one: kernels are recorded in place of being
run, and so is every other operator that does work on the device."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sglang_soft.plan import plan_forward
from sglang_soft.pool import ConceptPool
from sglang_soft.request import SoftRequest
from sglang_soft.step import concept_step
from sglang_soft.transfer import DeviceConcepts
from tests.soft_params import soft_params


class Launches(TorchDispatchMode):
    """Names of operators, without views and allocations, and of kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        returns = func._schema.returns
        view = returns and all(
            r.alias_info is not None and not r.alias_info.is_write for r in returns
        )
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
    from sglang_soft_kernels import dispatch, sampling_triton, state_triton

    found = Launches()
    monkeypatch.setattr(dispatch, "uses_triton", lambda tensor: True)
    for module in (sampling_triton, state_triton):
        for name in [name for name in vars(module) if name.endswith("_kernel")]:
            monkeypatch.setattr(module, name, RecordedKernel(name.removesuffix("_kernel"), found))
    return found


def test_a_soft_step_is_five_kernels_and_one_gather(launches):
    requests = [SoftRequest(soft_params()), None] * 4
    pool, rows = ConceptPool(9, 32, "cpu"), torch.arange(1, 9)
    pool.start(rows.tolist(), requests)
    plan = plan_forward(pool, rows, requests)
    logits, tokens = torch.randn(8, 111), torch.zeros(8, dtype=torch.int64)
    with launches:
        step = concept_step(plan, logits)
        step.merge(tokens)
        step.advance(plan, tokens)
        DeviceConcepts.of(step, plan)
    assert launches.names == ["aten::index.Tensor", "scan", "finish", "decide", "merge", "advance"]
