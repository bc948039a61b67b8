"""Compile at start what requests can ask for, so that no request waits for a compiler later.

What clients choose (k, top_k, the method, how many rows think) is a run-time value of the kernels,
up to a few widths of top_k. Each is run once here, on a pool of its own.
"""

from collections.abc import Iterator
from typing import Any

import torch

from sglang_soft import methods, stopping
from sglang_soft.engine.embedding import SoftModel, mix
from sglang_soft.engine.inputs import decode_embed, prepare
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.request import SoftRequest
from sglang_soft.engine.step import concept_step
from sglang_soft.params import RequestParams, Sampling

_TOP_K = (16, 32, 64, 128, 129)
"""Widths of the sampling kernels, and one above them, which is searched."""


def requests(max_k: int) -> Iterator[SoftRequest]:
    """One request for each combination of sizes that needs code of its own."""
    for method in methods.registry().values():
        yield _request(method.name, max_k, method.Params().max_topk, 16)
        if method.realigned_by:  # its hidden states are float32 then
            yield _request(method.name, max_k, 1, 16, **{method.realigned_by: True})
    for k in (1, max_k):
        yield _request("soft", max_k, k, 16)
    for rule in stopping.registry().values():
        if not rule.fused and not any(p.required for p in rule.own_parameters()):
            yield _request("soft", max_k, 1, 16, stop=rule.Params())
    for top_k in _TOP_K:
        yield _request("soft", max_k, 1, top_k)
        for method in methods.registry().values():
            if method.needs_unfiltered:  # another variant of the first kernel, and its widths
                yield _request(method.name, max_k, 1, top_k)


def _request(name: str, max_k: int, k: int, top_k: int, **own: Any) -> SoftRequest:
    method = methods.get(name)
    size = max(1, min(k, max_k - method.extra_slots))
    params = RequestParams(
        params=method.Params(max_topk=size, **own),
        thinking=Sampling(temperature=0.6, top_p=0.95, top_k=top_k, min_p=0.0),
        seed=0, max_new_tokens=8, think_start=(1,), think_end=(1,), starts_thinking=True,
    )  # fmt: skip
    return SoftRequest(params, 1)


@torch.inference_mode()
def warmup(model: SoftModel, vocab_size: int, device: torch.device | str, max_k: int) -> int:
    """Run one step for every request of `requests`, with every row thinking and with a discrete one
    next to it. Returns the number of steps."""
    facts, steps = model.facts, 0
    logits = torch.zeros((2, vocab_size), device=device)
    hidden = torch.zeros((2, facts.hidden_size), dtype=facts.dtype, device=device)
    pool = ConceptPool(
        4, max_k, device, hidden_size=facts.hidden_size, dtype=facts.dtype,
        embedding_rms=facts.rms, embedding_norm=facts.norm,
        realignment=lambda: torch.eye(facts.hidden_size, device=device),
    )  # fmt: skip
    rows = torch.tensor([1, 2], device=device)
    for request in requests(max_k):
        for batch in ([request, request], [request, None]):
            pool.start([1, 2], batch)
            inputs = prepare(pool, rows, batch)
            for dtype in (torch.int32, torch.int64):
                tokens = torch.zeros(2, dtype=dtype, device=device)
                step = concept_step(inputs, logits, hidden if inputs.reads_hidden else None)
                step.overwrite_tokens(tokens)
                step.update_pool(tokens)
                steps += 1
            embed = decode_embed(inputs, rows)
            assert embed is not None
            mix(model.embedding, torch.zeros(2, dtype=torch.int64, device=device), embed)
    return steps
