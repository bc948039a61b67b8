"""The formula of each method, with the parameters of a trace.

Shapes: n steps, r of them drew something, V vocabulary, d drawn tokens, H hidden size.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sglang_soft.rollout import formulas
from sglang_soft.rollout.formulas import Filter
from sglang_soft.trace import Trace


class Drew(NamedTuple):
    """The steps of a trace that drew something."""

    params: Mapping[str, Any]
    """Of the trace."""
    logits: Tensor
    """[r, V]: the model's."""
    tokens: Tensor
    """[r, d] int64: the drawn tokens, or the candidates; -1: none."""
    weights: Tensor
    """[r, d] float32: the weights that were drawn, of methods that draw them."""
    table: Tensor
    """[V, H]: the model's input embeddings."""
    vectors: Tensor | None
    """[r, H] float32: what was fed, of a method that feeds offsets."""


def thought_log_probs(
    trace: Trace, logits: Tensor, table: Tensor, vectors: Tensor | None
) -> Tensor:
    """[n] float64. logits: [n, V]; table: [V, H]; vectors: [n, H] or None.

    Raises ValueError: there is no formula for the trace's method, or several requests made it."""
    found = torch.zeros(len(logits), dtype=torch.float64, device=logits.device)
    if trace.segments:
        raise ValueError("several requests made the steps of the trace (segments).")
    if trace.seed is None:  # nothing is drawn
        return found
    if trace.method not in FORMULAS:
        known = ", ".join(FORMULAS)
        raise ValueError(f"no formula for method {trace.method!r}; there are those of {known}.")
    tokens = torch.from_numpy(trace.steps.extra["drawn"].astype(np.int64)).to(logits.device)
    weights = torch.from_numpy(drawn_weights(trace)).to(logits.device)
    drew = tokens[:, 0] >= 0
    if not drew.any():
        return found
    values = FORMULAS[trace.method](
        Drew(
            trace.params, logits[drew], tokens[drew], weights[drew], table,
            None if vectors is None else vectors[drew],
        )
    )  # fmt: skip
    return found.masked_scatter(drew, values)


def drawn_weights(trace: Trace) -> np.ndarray:
    """[n, d] float32: the weight of each token of `drawn`, as the step drew it; 0: none."""
    drawn = trace.steps.extra["drawn"]
    same = (trace.ids[:, None, :] == drawn[:, :, None]) & (drawn >= 0)[:, :, None]
    weights = (same * trace.weights[:, None, :]).sum(2, dtype=np.float32)
    if len(trace.end_weights):
        weights[-1] = trace.end_weights
    return weights


def _filter(drew: Drew, most: int) -> Filter:
    p = drew.params
    return Filter(p["temperature"], p["top_k"], p["top_p"], p["min_p"], most)


def _from_all(drew: Drew) -> Tensor:
    return formulas.of_draws(drew.logits, drew.tokens, _filter(drew, drew.logits.shape[1]))


def _from_candidates(drew: Drew) -> Tensor:
    return formulas.of_draws(drew.logits, drew.tokens, _filter(drew, drew.params["max_topk"]))


def _log_p(drew: Drew) -> Tensor:
    return formulas.log_candidates(drew.logits, drew.tokens, drew.params["temperature"])


def _gumbel(drew: Drew) -> Tensor:
    return formulas.of_concrete(_log_p(drew), drew.weights, drew.params["gumbel_temperature"])


def _dirichlet(drew: Drew) -> Tensor:
    return formulas.of_dirichlet(_log_p(drew), drew.weights, drew.params["dirichlet_gamma"])


def _noise(drew: Drew) -> Tensor:
    assert drew.vectors is not None
    scale = drew.params["noise_scale"]
    return formulas.of_normal(_log_p(drew), drew.tokens, drew.table, drew.vectors, scale)


FORMULAS: dict[str, Callable[[Drew], Tensor]] = {
    "cot": _from_all,
    "multiplex": _from_all,
    "thinkrouter": _from_all,
    "selar": _from_all,
    "swireasoning": _from_all,
    "later": _from_all,
    "moi": _from_candidates,
    "soft_gumbel": _gumbel,
    "soft_dirichlet": _dirichlet,
    "soft_noise": _noise,
}
"""By method; [r] float64. Add that of a method of your own."""
