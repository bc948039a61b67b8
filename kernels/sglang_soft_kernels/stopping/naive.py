"""Facts of a step's logits in plain PyTorch: the specification of `triton` and `cpu`.

Shapes: N rows of the batch, A of them that are computed, R rows of the concept pool, V vocabulary.

Batch invariance: a row's facts are the same bits whatever the other rows are. A maximum and a count
are exact; sums over V are added in float64 and rounded once.
"""

from typing import NamedTuple

import torch

from .. import layout
from ..dispatch import dispatch
from ..sampling.naive import row_sum

COLUMNS = 8
"""Of `LogitFacts.packed`, in the order of its properties."""


class LogitFacts(NamedTuple):
    """Of each row's logits z, before any filter, at temperature 1. Its parts are views."""

    packed: torch.Tensor
    """[A, 8] int32, floats by their bits"""

    @property
    def token(self) -> torch.Tensor:
        """[A] int32: e, the token of think-end that would be emitted next."""
        return self.packed[:, 0]

    @property
    def rank(self) -> torch.Tensor:
        """[A] int32: 1 + the number of tokens v with z_v > z_e."""
        return self.packed[:, 1]

    def _float(self, column: int) -> torch.Tensor:
        return self.packed[:, column].view(torch.float32)

    @property
    def logit(self) -> torch.Tensor:
        """[A] float32: z_e"""
        return self._float(2)

    @property
    def largest(self) -> torch.Tensor:
        """[A] float32: max z"""
        return self._float(3)

    @property
    def second(self) -> torch.Tensor:
        """[A] float32: the second largest z; the largest again where two tokens have it. -inf: one
        token is possible."""
        return self._float(4)

    @property
    def mean(self) -> torch.Tensor:
        """[A] float32: mean of the finite z"""
        return self._float(5)

    @property
    def entropy(self) -> torch.Tensor:
        """[A] float32: of softmax(z), nats"""
        return self._float(6)

    @property
    def max_prob(self) -> torch.Tensor:
        """[A] float32: the largest of softmax(z)"""
        return self._float(7)


@dispatch
def logit_facts(
    logits: torch.Tensor,
    ints: torch.Tensor,
    rows: torch.Tensor,
    delimiters: torch.Tensor,
    index: torch.Tensor | None = None,
) -> LogitFacts:
    """What stopping rules ask, read once for all of them.

    logits: [N, V], no nan or +inf, at least one finite a row. ints: [A, 28] int32, of which what
    says where in think-end the output stands is read. rows: [A] int64 rows of the pool. delimiters:
    [R, 96] int32 of the pool (sequences.py). index: [A] int64 rows of the batch; None: A = N.
    """
    z = (logits if index is None else logits[index]).float()
    at = ints[:, layout.CLOSING_SIZE] + ints[:, layout.MATCH]
    token = delimiters[rows].gather(1, at.long().unsqueeze(1))
    logit = z.gather(1, token.long())
    rank = 1 + (z > logit).sum(1, dtype=torch.int32)
    first, second = z.topk(2, 1).values.unbind(1) if z.shape[1] > 1 else (z[:, 0], z[:, 0])
    finite = z > float("-inf")
    mean = row_sum(torch.where(finite, z, 0.0).double()) / finite.sum(1)
    x = (z - first.unsqueeze(1)).clamp_(min=-1e30)
    e = x.exp()
    Z = row_sum(e.double())
    # Both terms are >= 0: nothing cancels.
    entropy = Z.log() - row_sum((x * e).double()) / Z
    parts = [logit.squeeze(1), first, second, mean, entropy, 1 / Z]
    floats = torch.stack([part.float() for part in parts], 1).view(torch.int32)
    return LogitFacts(torch.cat([token, rank.unsqueeze(1), floats], 1))
