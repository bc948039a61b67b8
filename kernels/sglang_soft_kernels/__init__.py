"""Kernels of sglang-soft for GPUs and CPUs, and beside them plain PyTorch references, their
specification.

`import sglang_soft_kernels` imports neither torch nor triton nor numba: SGLang loads plugins before
it has set CUDA up.
"""

import importlib
from typing import Any

_HOME = {
    "SoftSample": "sampling_reference",
    "StepRecord": "state_reference",
    "VocabShard": "mixture_reference",
    "advance": "dispatch",
    "decide": "dispatch",
    "embedding_mixture": "dispatch",
    "merge": "dispatch",
    "soft_sample": "dispatch",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
