"""What the engines are asked, and how long they take: batches of requests of one length.

In a batch, `methods` has one entry a request: a thinking method, the parameters of `soft_thinking`
(such as {"method": "soft", "weight_bits": 8}), or None for a discrete request.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from launch.bench.worker import Result, Worker

SAMPLING = {"temperature": 0.6, "top_p": 0.95, "top_k": 30, "ignore_eos": True}
GREEDY = SAMPLING | {"temperature": 0.0}
SOFT = {"min_p": 0.001}
Asked = str | Mapping[str, Any] | None
SHORT = 8
"""Output tokens of the short run, which is taken off the long one."""


def arguments(
    prompts: Mapping[str, list],
    methods: Sequence[Asked],
    tokens: int,
    sampling: Mapping[str, Any] = SAMPLING,
) -> dict[str, Any]:
    """Arguments of `Engine.generate`. prompts: {"prompt": texts} or {"input_ids": lists}."""
    params: list[dict[str, Any]] = []
    for method in methods:
        params.append({**sampling, "max_new_tokens": tokens})
        if method is not None:
            own = {"method": method} if isinstance(method, str) else dict(method)
            params[-1]["custom_params"] = {"soft_thinking": SOFT | own}
    return {**prompts, "sampling_params": params}


def tokens_per_second(
    worker: Worker, prompts: Mapping[str, list], methods: Sequence[Asked], tokens: int
) -> float:
    """Output tokens a second, prefill included."""
    result = _run(worker, prompts, methods, tokens)
    return result.tokens / result.seconds


def step_seconds(
    worker: Worker,
    prompts: Mapping[str, list],
    methods: Sequence[Asked],
    tokens: int,
    *,
    least_thinking: float = 0.0,
    short: int = SHORT,
    sampling: Mapping[str, Any] = SAMPLING,
) -> float:
    """Seconds of a decode step: the time of a short run is taken off the time of one that is
    `tokens` longer, which leaves no prefill in it. short: output tokens of the short run.

    Raises RuntimeError if less than the share `least_thinking` of the soft requests' output tokens
    were thinking tokens: then discrete steps would have been measured."""
    before = _run(worker, prompts, methods, short, sampling)
    long = _run(worker, prompts, methods, short + tokens, sampling)
    soft = sum(method is not None for method in methods) * (short + tokens)
    if long.thinking < least_thinking * soft:
        raise RuntimeError(
            f"{long.thinking} of {soft} output tokens of the soft requests were thinking tokens"
        )
    return (long.seconds - before.seconds) / tokens


def _run(
    worker: Worker,
    prompts: Mapping[str, list],
    methods: Sequence[Asked],
    tokens: int,
    sampling: Mapping[str, Any] = SAMPLING,
) -> Result:
    result = worker.run(**arguments(prompts, methods, tokens, sampling))
    soft = any(method is not None for method in methods)
    if bool(result.thinking) != soft:
        raise RuntimeError(f"{result.thinking} thinking tokens, asked: {methods[0]}, ...")
    return result
