"""Answers of a made-up model whose thoughts have known lengths, with and without rules and bounds."""

import hashlib
from typing import Any

from tests.evals.fake_server import Answer, probe, reply, soft, solve

COT, SOFT = {"method": "cot"}, {"method": "soft", "max_topk": 10}
RULE = {"cold_stop_entropy": 0.2, "cold_stop_steps": 12}
METHODS = [
    {"name": "cot", "soft_thinking": COT},
    {"name": "cot + rule", "soft_thinking": COT | RULE},
    {"name": "soft", "soft_thinking": SOFT},
    {"name": "soft + rule", "soft_thinking": SOFT | RULE},
]
BOTH = ["budget", "random"]


def length(request: dict[str, Any]) -> int:
    """Thinking tokens: of a whole thought, drawn from question, seed and method; a rule takes half
    of it and some; a bound cuts it."""
    params: Any = soft(request)
    salt = f"{request['messages'][0]['content']} {request['seed']} {params['method']}"
    whole = 20 + int(hashlib.sha256(salt.encode()).hexdigest(), 16) % 60
    if "cold_stop_entropy" in params or "stop" in params:
        whole -= whole // 2 - whole % 7
    return min(whole, params.get("max_thinking_tokens", whole))


def think(request: dict[str, Any]) -> Answer:
    """Right where the thought has an even number of tokens."""
    if probe(request):
        return solve(request)
    count = length(request)
    status, answer = solve(request) if count % 2 == 0 else reply(request, "Answer: 0")
    found = answer["choices"][0]["meta_info"]["soft_thinking"]
    found["thinking_tokens"] = count
    answer["usage"]["completion_tokens"] = count + 1 + found["answer_tokens"]
    return status, answer
