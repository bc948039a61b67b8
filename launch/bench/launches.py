"""What a decode step launches on a GPU, counted without one.

    python -m launch.bench.launches

Prints the table of docs/benchmarks.md, the launches of every method. Kernels are recorded in place
of being run, and so is every other operator that does work on the device; views and allocations do
none.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from launch.bench.turns import markdown
from sglang_soft import methods
from sglang_soft.engine.inputs import prepare
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.request import SoftRequest
from sglang_soft.engine.step import concept_step
from sglang_soft.params import RequestParams, Sampling
from sglang_soft.stopping import BOUNDARIES

V, HIDDEN, MAX_K = 1009, 48, 32
TOP_KS = (30, -1, 500)
"""A few candidates, SGLang's default (off), and more than the kernels sort."""


class Launches(TorchDispatchMode):
    """Names of operators, without views and allocations, and of kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.wide: list[str] = []
        """Operators, kernels not among them, that read something as wide as the vocabulary."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        returns = func._schema.returns
        aliases = [r.alias_info for r in returns]
        view = returns and all(a is not None and not a.is_write for a in aliases)
        if not view and not func.name().startswith("aten::empty"):
            self.names.append(func.name())
            inputs = [x for x in args if isinstance(x, torch.Tensor)]
            if any(x.dim() and x.shape[-1] == V for x in inputs):
                self.wide.append(func.name())
        made = func(*args, **(kwargs or {}))
        # What a kernel would have written may be an index.
        return made.zero_() if func.name().startswith("aten::empty") else made


class RecordedKernel:
    def __init__(self, name: str, launches: Launches) -> None:
        self._name, self._launches = name, launches

    def __getitem__(self, grid):
        return lambda *args, **kwargs: self._launches.names.append(self._name)


@contextmanager
def recording() -> Iterator[Launches]:
    """Triton's path on CPU tensors, with its kernels recorded. Their outputs are 0."""
    from sglang_soft_kernels import dispatch
    from sglang_soft_kernels.blending import triton as blending
    from sglang_soft_kernels.index import identity, ones
    from sglang_soft_kernels.noise import triton as noise
    from sglang_soft_kernels.sampling import triton as sampling
    from sglang_soft_kernels.state import triton as state
    from sglang_soft_kernels.stopping import triton as stopping

    for constant in (identity, ones):  # made once a server
        constant(HIDDEN, torch.device("cpu"))
    launches = Launches()
    with mock.patch.object(dispatch, "uses_triton", lambda tensor: True):
        patches = []
        for module in (sampling, state, noise, blending, stopping):
            for name in [name for name in vars(module) if name.endswith("_kernel")]:
                kernel = RecordedKernel(name.removesuffix("_kernel"), launches)
                patches.append(mock.patch.object(module, name, kernel))
        for patch in patches:
            patch.start()
        try:
            yield launches
        finally:
            for patch in patches:
                patch.stop()


def step(requests: Sequence[SoftRequest | None], launches: Launches) -> list[str]:
    """Names of what one decode step launches, in a model of bfloat16."""
    pool = ConceptPool(len(requests) + 1, MAX_K, "cpu", hidden_size=HIDDEN, dtype=torch.bfloat16)
    rows = torch.arange(1, len(requests) + 1)
    with mock.patch("sglang_soft_kernels.dispatch.uses_triton", lambda tensor: False):
        pool.start(rows.tolist(), requests)
    inputs = prepare(pool, rows, requests)
    logits, tokens = torch.randn(len(requests), V), torch.zeros(len(requests), dtype=torch.int64)
    hidden = torch.zeros((len(requests), HIDDEN), dtype=torch.bfloat16)
    for name in {name for m in inputs.methods for name in m.token_classes}:
        pool.token_class(name, V)  # uploaded once a server, as are the next two
    for rule in inputs.rules:
        pool.token_classes(BOUNDARIES, V)
        pool.idle_args(rule)
    with launches:
        output = concept_step(inputs, logits, hidden if inputs.reads_hidden else None)
        output.overwrite_tokens(tokens)
        output.update_pool(tokens)
    return launches.names


def request(name: str, top_k: int) -> SoftRequest:
    """At the method's default parameters, with top_p."""
    params = RequestParams(
        params=methods.get(name).Params(), thinking=Sampling(0.6, 0.95, top_k, 0.0), seed=0,
        max_new_tokens=64, think_start=(1,), think_end=(2,), starts_thinking=True,
    )  # fmt: skip
    return SoftRequest(params, 1)


def table() -> str:
    head = ["method", *(f"top_k {top_k}" for top_k in TOP_KS), "what it launches at top_k -1"]
    rows = []
    for name in methods.names():
        found = []
        for top_k in TOP_KS:
            with recording() as launches:
                found.append(step([request(name, top_k)] * 8, launches))
        names = ", ".join(n.removeprefix("aten::").partition(".")[0] for n in found[1])
        rows.append([f"`{name}`", *(str(len(f)) for f in found), names])
    return markdown(head, rows)


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print(table())
