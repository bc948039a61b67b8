from typing import Annotated

import torch

from sglang_soft.params import StopParams, described
from sglang_soft.stopping.base import At, StopContext, StopRule

_HISTORY = (10, 50, 100, 1000)
"""Bounds of the last four ranks, the last one first."""
_NONE = 1e9
"""In place of a rank that is not there."""
_RANK, _COUNT = {"ge": 1, "le": 2**24}, {"ge": 1, "le": 2**24}


class RCPD(StopRule):
    """After a sentence, where think-end ranks high among the next tokens, now or for a while.

    r: rank of think-end in the logits, 1 + #{v: z_v > z_e}, read at boundaries only. Stop if
    r <= `rank`; or r and the ranks at the three boundaries before are at most 10, 50, 100 and 1000;
    or r <= `low_rank` at `low_count` boundaries in a row; or r <= `mid_rank` at `mid_count` in a
    row. The authors fitted the numbers on MATH-500 and split sentences with NLTK; here a sentence
    ends with a token of class `at`.
    """

    name = "rcpd"
    source = "arXiv 2508.17627"
    state = (_NONE, _NONE, _NONE, 0.0, 0.0)

    class Params(StopParams, tag="rcpd", kw_only=True, frozen=True):
        at: At = "sentence"
        rank: Annotated[int, described("Largest rank that stops at once", **_RANK)] = 5
        low_rank: Annotated[
            int, described("Largest rank that stops `low_count` times in a row", **_RANK)
        ] = 20
        low_count: Annotated[
            int, described("Boundaries in a row with a rank of at most `low_rank`", **_COUNT)
        ] = 3
        mid_rank: Annotated[
            int, described("Largest rank that stops `mid_count` times in a row", **_RANK)
        ] = 50
        mid_count: Annotated[
            int, described("Boundaries in a row with a rank of at most `mid_rank`", **_COUNT)
        ] = 6

    def step(self, context: StopContext) -> tuple[torch.Tensor, torch.Tensor]:
        at, r = context.boundary, context.facts.rank.float()
        first, second, third, low, mid = context.state.unbind(1)
        low = torch.where(r <= context.arg("low_rank"), low + 1, 0.0)
        mid = torch.where(r <= context.arg("mid_rank"), mid + 1, 0.0)
        falling = r <= _HISTORY[0]
        for rank, bound in zip((first, second, third), _HISTORY[1:], strict=True):
            falling &= rank <= bound
        stops = (r <= context.arg("rank")) | falling
        stops |= (low >= context.arg("low_count")) | (mid >= context.arg("mid_count"))
        state = torch.stack([r, first, second, low, mid], 1)
        return stops & at, torch.where(at[:, None], state, context.state)
