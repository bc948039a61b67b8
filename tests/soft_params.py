"""A validated soft request, as unit tests need one."""

from typing import Any

from sglang_soft.params import Sampling
from sglang_soft.wire import SoftParams

_BASE: dict[str, Any] = {
    "method": "soft",
    "args": (),
    "seed": 0,
    "sample": 0,
    "max_topk": 10,
    "thinking": Sampling(0.6, 0.95, 30, 0.001),
    "cold_stop_entropy": 0.1,
    "cold_stop_steps": 12,
    "max_thinking_tokens": None,
    "max_new_tokens": 64,
    "return_concepts": True,
    "think_start_id": 7,
    "think_end_id": 8,
    "starts_thinking": True,
}


def soft_params(**changes: Any) -> SoftParams:
    return SoftParams(**(_BASE | changes))
