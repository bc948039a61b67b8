"""Thinking in hidden states in plain PyTorch: the specification of `triton`. CPUs run it too.

Shapes: A rows, H hidden size, V vocabulary.
"""

from typing import NamedTuple

import torch

from .. import layout
from ..dispatch import dispatch
from ..sampling.naive import row_sum

LEAST = 1e-6
"""Least length that a hidden state is divided by."""
TOKENS, ENTROPY, STOP = range(3)
"""Columns of LaTER's parameters. STOP: 0 leaves at a token of the class."""


class Latent(NamedTuple):
    """LaTER's decision of one step."""

    latent: torch.Tensor
    """[A] bool: feed the hidden state; else one drawn token"""
    ids: torch.Tensor
    """[A, 1] int32: the most probable token while latent, else the drawn one"""
    weights: torch.Tensor
    """[A, 1] float32: 0 while latent, else 1"""
    state: torch.Tensor
    """[A, 1] float32: 1 while latent"""


@dispatch
def match_norm(
    hidden: torch.Tensor, norm: float, dtype: torch.dtype, used: torch.Tensor | None = None
) -> torch.Tensor:
    """norm * h / max(|h|, LEAST), and 0 in rows that are not `used`.

    In float32. A row's sum has a fixed order, so its bits do not depend on the batch. hidden:
    [A, H], any float dtype. used: [A] bool. Returns [A, H] in `dtype`.
    """
    hidden = hidden.float()
    length = row_sum(hidden.square()).sqrt().clamp(min=LEAST)
    matched = hidden * (norm / length)[:, None]
    if used is not None:
        matched = torch.where(used[:, None], matched, 0.0)
    return matched.to(dtype)


@dispatch
def leave_latent(
    entropy: torch.Tensor, state: torch.Tensor, args: torch.Tensor, ints: torch.Tensor,
    top: torch.Tensor, drawn: torch.Tensor, stops: torch.Tensor,
) -> Latent:  # fmt: skip
    """LaTER (training-free): latent for the first steps, discrete for good afterwards.

    A row leaves at the first step t > 0 at which t >= `TOKENS`, or the entropy is above `ENTROPY`,
    or the most probable token is one of `stops`; and at t = 0 where `TOKENS` is 0.

    entropy: [A] float32, nats. state: [A, 1]: 1 while latent. args: [A, >= 3] float32. ints: [A,
    28] int32. top, drawn: [A] int32, any stride. stops: [V] bool.
    """
    step = ints[:, layout.THINK_STEP]
    at_token = stops[top.long()] & (args[:, STOP] == 0)
    leaves = (step > 0) & ((entropy > args[:, ENTROPY]) | at_token)
    latent = (state[:, 0] == 1) & (step < args[:, TOKENS]) & ~leaves
    token = torch.where(latent, top, drawn)[:, None]
    share = latent.float()[:, None]
    return Latent(latent, token, 1 - share, share)
