"""Kernels of sglang-soft for GPUs and CPUs. One folder an operator family: `naive` in plain PyTorch
is the specification, `triton` and `cpu` compute the same.

`import sglang_soft_kernels` imports neither torch nor triton nor numba: SGLang loads plugins before
it has set CUDA up.
"""

import importlib
from typing import Any

_HOME = {
    "Drawn": "sampling.naive",
    "SoftSample": "sampling.naive",
    "StepRecord": "state.naive",
    "Unfiltered": "sampling.naive",
    "VocabShard": "mixture.naive",
    "embedding_mixture": "mixture.naive",
    "finish_step": "state.naive",
    "overwrite_tokens": "state.naive",
    "soft_sample": "sampling.naive",
    "update_pool": "state.naive",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
