"""Kernels of sglang-soft for GPUs and CPUs. One folder an operator family: `naive` in plain PyTorch
is the specification, `triton` and `cpu` compute the same.

`import sglang_soft_kernels` imports neither torch nor triton nor numba: SGLang loads plugins before
it has set CUDA up.
"""

import importlib
from typing import Any

_HOME = {
    "Composed": "blending.naive",
    "Drawn": "sampling.naive",
    "Gated": "blending.naive",
    "LogitFacts": "stopping.naive",
    "Latent": "latent.naive",
    "SoftSample": "sampling.naive",
    "StepRecord": "state.naive",
    "Switched": "blending.naive",
    "Unfiltered": "sampling.naive",
    "VocabShard": "mixture.naive",
    "compose": "blending.naive",
    "embedding_mixture": "mixture.naive",
    "finish_step": "state.naive",
    "gate_by_entropy": "blending.naive",
    "gather_rows": "noise.naive",
    "gumbel": "noise.naive",
    "leave_latent": "latent.naive",
    "log_gamma": "noise.naive",
    "logit_facts": "stopping.naive",
    "match_norm": "latent.naive",
    "merge_draws": "blending.naive",
    "normal": "noise.naive",
    "normalised_entropy": "blending.naive",
    "overwrite_tokens": "state.naive",
    "soft_sample": "sampling.naive",
    "switch_modes": "blending.naive",
    "uniform": "noise.naive",
    "update_pool": "state.naive",
    "write_offsets": "state.naive",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
