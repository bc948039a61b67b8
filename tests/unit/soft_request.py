"""A validated soft request, as unit tests need one."""

from typing import Any

from sglang_soft import methods
from sglang_soft.engine.request import SoftRequest
from sglang_soft.params import RequestParams, Sampling

SAMPLING = Sampling(temperature=0.6, top_p=0.95, top_k=30, min_p=0.001)
PROMPT = 2
"""Tokens of the prompt."""


def request_params(
    method: str = "soft", thinking: Sampling = SAMPLING, **changes: Any
) -> RequestParams:
    """changes: fields of the request, or of the method's parameters."""
    common = {"max_topk": 10, "cold_stop_entropy": 0.1, "cold_stop_steps": 12}
    values: dict[str, Any] = common | {"return_concepts": True}
    request: dict[str, Any] = {
        "seed": 0,
        "max_new_tokens": 64,
        "think_start": (7,),
        "think_end": (8,),
        "starts_thinking": True,
    }
    for name, value in changes.items():
        (request if name in RequestParams.__struct_fields__ else values)[name] = value
    params = methods.get(method).Params(**values)
    return RequestParams(params=params, thinking=thinking, **request)


def soft_request(method: str = "soft", **changes: Any) -> SoftRequest:
    return SoftRequest(request_params(method, **changes), PROMPT)
