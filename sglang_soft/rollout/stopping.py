"""Stopping rules that change logits, from the formulas of docs/stopping.md alone.

Shapes: n steps, V vocabulary.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from sglang_soft_kernels.sequences import advance, failure
from torch import Tensor

from sglang_soft import stopping
from sglang_soft.trace import Trace
from sglang_soft.trace.cutting import think_end


def adjusted(trace: Trace, logits: Tensor) -> Tensor:
    """The logits that the thinking steps of a trace read, [n, V], from the model's; differentiable.

    Raises ValueError: there is no formula for what the trace's rule changes."""
    rule = trace.params.get("stop")
    name = rule.get("rule") if isinstance(rule, Mapping) else None
    if name not in FORMULAS:
        known = stopping.registry().get(str(name))
        if name is not None and (known is None or known.adjusts):
            raise ValueError(f"no formula for what stopping rule {name!r} does to logits.")
        return logits
    assert isinstance(rule, Mapping)
    ids = torch.tensor(next_of_end(trace)[: len(logits)], device=logits.device)[:, None]
    return logits.scatter_add(1, ids, FORMULAS[name](logits, rule)[:, None])


def next_of_end(trace: Trace) -> list[int]:
    """[n]: of each step, the token of think-end that would be emitted next."""
    end, matched, found = think_end(trace), 0, []
    borders = failure(end)
    first = (trace.start or 0) - len(trace.prompt_ids)
    for token in trace.output_ids[first : first + len(trace.steps)].tolist():
        found.append(end[matched])
        matched = advance(end, borders, matched, token) % len(end)
    return found


def _boost(logits: Tensor, rule: Mapping[str, Any]) -> Tensor:
    finite = logits > -torch.inf
    mean = torch.where(finite, logits, 0.0).double().sum(1) / finite.sum(1)
    return rule["boost"] * (logits.amax(1) - mean.to(logits.dtype))


FORMULAS: dict[str, Callable[[Tensor, Mapping[str, Any]], Tensor]] = {"think_end_boost": _boost}
"""By rule: what is added to the logit of think-end, [n]. Add that of a rule of your own that
`adjusts`."""
