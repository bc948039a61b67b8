"""`--enable-deterministic-inference` on a CPU: a row of a batch has the same bits whatever else is
in the batch.

Attention is computed row by row (`attention_rows`). The matrix products of a model are PyTorch's,
with the rows of the batch padded to a multiple of `ROWS`: for fewer rows, or an odd number of them,
the library takes other kernels, which add in another order. That it takes the same ones from there
on is measured for each shape when it is first met; where it does not, blocks of `BLOCK` rows are
computed one by one, which is slower.

Requests are sampled by SGLang's seeded sampling, whose hash is `murmur` here.

SGLang has such operators for GPUs (`sglang.srt.batch_invariant_ops`); there they replace the same
operators in the same way.
"""

import logging

import torch
from torch import library

from sglang_soft_cpu.murmur import murmur_hash32

ROWS = 4
BLOCK = 16
MOST = 128
"""Rows that are computed at once."""
_TRIED = (4, 8, 12, 20, 36, 64, 100, 128)

logger = logging.getLogger(__name__)
_library: library.Library | None = None
_steps: dict[tuple, int] = {}


def is_on() -> bool:
    return _library is not None


def enable(*_args, **_kwargs) -> None:
    """In place of `sglang.srt.batch_invariant_ops.enable_batch_invariant_mode`, for this process.
    Re-entrant."""
    global _library
    if _library is None:
        from sglang.srt.layers import sampler

        sampler.murmur_hash32 = murmur_hash32
        _library = library.Library("aten", "IMPL")
        _library.impl("aten::mm", _mm, "CPU")
        _library.impl("aten::addmm", _addmm, "CPU")
        _library.impl("aten::bmm", _bmm, "CPU")
        _library.impl("aten::gelu", _gelu, "CPU")
        logger.info("deterministic inference: a row does not depend on its batch")


def _mm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """[M, K] x [K, N]"""
    step = _step(b)
    rows = len(a)
    out = a.new_empty(rows, b.shape[1])
    for start in range(0, rows, MOST if step == ROWS else BLOCK):
        part = a[start : start + (MOST if step == ROWS else BLOCK)]
        out[start : start + len(part)] = _padded(part, b, step)
    return out


def _padded(a: torch.Tensor, b: torch.Tensor, step: int) -> torch.Tensor:
    rows = len(a)
    padded = a.new_zeros(-(-rows // step) * step, a.shape[1])
    padded[:rows] = a
    # `out`: that overload is PyTorch's own.
    return torch.mm(padded, b, out=a.new_empty(len(padded), b.shape[1]))[:rows]


def _addmm(bias, a, b, *, beta=1, alpha=1) -> torch.Tensor:
    product = _mm(a, b)
    product = product if alpha == 1 else product * alpha
    return product + (bias if beta == 1 else bias * beta)


def _bmm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """[B, M, K] x [B, K, N]"""
    out = a.new_empty(len(a), a.shape[1], b.shape[2])
    for own, left, right in zip(out, a, b, strict=True):
        own.copy_(_mm(left, right))
    return out


def _gelu(x: torch.Tensor, *, approximate: str = "none") -> torch.Tensor:
    """PyTorch has another one for a tensor that is not contiguous, and half of a row is contiguous
    where there is one row."""
    x = x.contiguous()
    return torch.ops.aten.gelu.out(x, approximate=approximate, out=torch.empty_like(x))


def _step(b: torch.Tensor) -> int:
    """Rows to pad to a multiple of, for products with a matrix like b."""
    key = (b.shape, b.stride(), b.dtype, torch.get_num_threads())
    if key not in _steps:
        _steps[key] = ROWS if _rows_are_alike(b) else BLOCK
        if _steps[key] == BLOCK:
            logger.warning(
                "deterministic inference: products with [%d, %d] matrices of %s are computed in "
                "blocks of %d rows here, which is slower", *b.shape, b.dtype, BLOCK,
            )  # fmt: skip
    return _steps[key]


def _rows_are_alike(b: torch.Tensor) -> bool:
    """A row has the same bits in every batch of a multiple of `ROWS` rows, up to `MOST`."""
    a = torch.randn(MOST, len(b), generator=torch.Generator().manual_seed(0)).to(b.dtype)
    whole = torch.mm(a, b, out=a.new_empty(MOST, b.shape[1]))
    for rows in _TRIED:
        part = a[MOST - rows :].contiguous()
        if not torch.equal(torch.mm(part, b, out=a.new_empty(rows, b.shape[1])), whole[-rows:]):
            return False
    return True
