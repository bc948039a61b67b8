"""`@dispatch`: one signature an operator, the naive function's, and the implementation by device.

CUDA tensors go to Triton, CPU tensors to compiled loops, all others to the naive function, which is
the specification. `TRITON_INTERPRET=1` sends CPU tensors through the Triton kernels as well, in
Triton's interpreter. Triton and Numba are imported at the first use.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import torch

_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def uses_triton(tensor: torch.Tensor) -> bool:
    return tensor.is_cuda or _INTERPRETED


def dispatch(naive: Callable) -> Any:
    """The operator whose specification is `naive`, in a module `naive` next to `triton` and `cpu`,
    which hold functions of the same name; without one in `cpu`, CPUs run the specification. The
    device is that of its first argument, a tensor or a step's record. `operator.naive` is the
    function itself."""
    package, name = naive.__module__.rpartition(".")[0], naive.__name__

    @wraps(naive)
    def operator(first, *args, **kwargs):
        tensor = getattr(first, "packed", first)
        if uses_triton(tensor):
            run = _load(f"{package}.triton", name)
            assert run is not None, f"{package}.triton has no {name}"
        else:
            run = (tensor.is_cpu and _load(f"{package}.cpu", name)) or naive
        return run(first, *args, **kwargs)

    operator.naive = naive  # type: ignore[attr-defined]
    return operator


@cache
def _load(module: str, function: str) -> Callable | None:
    """None: there is no such module, or it has no such function."""
    if importlib.util.find_spec(module) is None:
        return None
    return getattr(importlib.import_module(module), function, None)
