"""What one forward needs to know about its soft rows."""

from typing import NamedTuple

import torch

from sglang_soft.pool import ConceptPool
from sglang_soft.request import SoftRequest


class EmbedPlan(NamedTuple):
    """Input embeddings of one forward; T input tokens, R rows of the table, K slots."""

    rows: torch.Tensor
    """[T] int64: row of each input token. Row 0 is always a plain token, so padding may point at it."""
    ids: torch.Tensor
    """[R, K] int32"""
    weights: torch.Tensor
    """[R, K] float32; weights[r, 0] == 0: a plain token."""


class ForwardPlan(NamedTuple):
    """Sampling of one forward with at least one soft request; B requests."""

    pool: ConceptPool
    rows: torch.Tensor
    """[B] int64"""
    requests: list[SoftRequest | None]
    """[B]; None: hard."""
    width: int
    """K of this batch: the largest max_topk of its requests."""
    max_top_k: int
    """Upper bound of the enabled thinking-phase top_k, known to the host."""
