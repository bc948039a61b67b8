"""Facts of a step's logits, one Triton launch; `naive` is the specification.

One program a row, which reads it twice in blocks of a fixed size, so that a row's sums are added in
one order whatever the batch is. Only batches with a stopping rule that asks launch it.
"""

import torch
import triton
import triton.language as tl

from .. import layout
from ..index import identity
from .naive import COLUMNS, LogitFacts

CLOSING_SIZE = tl.constexpr(layout.CLOSING_SIZE)
MATCH = tl.constexpr(layout.MATCH)
BLOCK = tl.constexpr(4096)
WIDTH = tl.constexpr(COLUMNS)
WARPS = 8


@triton.jit(do_not_specialize=range(10))
def logit_facts_kernel(
    logits_ptr,  # [N, V]
    index_ptr,  # [A] row of the batch
    ints_ptr,  # [A, 28] int32
    rows_ptr,  # [A]
    delimiters_ptr,  # [R, 96] int32
    packed_ptr,  # [A, 8] int32
    V,
    logits_stride,
    ints_stride,
    delimiters_stride,
):
    a = tl.program_id(0).to(tl.int64)
    n = tl.load(index_ptr + a)
    ints = ints_ptr + a * ints_stride
    row = tl.load(rows_ptr + a).to(tl.int64)
    at = tl.load(ints + CLOSING_SIZE) + tl.load(ints + MATCH)
    token = tl.load(delimiters_ptr + row * delimiters_stride + at)
    logits = logits_ptr + n * logits_stride
    none = float("-inf")
    logit = tl.load(logits + token).to(tl.float32)

    first, second = tl.full((), none, tl.float32), tl.full((), none, tl.float32)
    rank, finite = tl.full((), 1, tl.int32), tl.full((), 0, tl.int32)
    total = tl.full((), 0, tl.float64)
    for block in range(0, V, BLOCK):
        v = block + tl.arange(0, BLOCK)
        z = tl.load(logits + v, mask=v < V, other=none).to(tl.float32)
        top = tl.max(z, 0)
        ties = tl.sum((z == top).to(tl.int32), 0)
        below = tl.max(tl.where(z == top, none, z), 0)
        below = tl.where(ties > 1, top, below)
        second = tl.maximum(tl.minimum(first, top), tl.maximum(second, below))
        first = tl.maximum(first, top)
        rank += tl.sum((z > logit).to(tl.int32), 0)
        some = z > none
        finite += tl.sum(some.to(tl.int32), 0)
        total += tl.sum(tl.where(some, z, 0.0).to(tl.float64), 0)
    Z, weighted = tl.full((), 0, tl.float64), tl.full((), 0, tl.float64)
    for block in range(0, V, BLOCK):
        v = block + tl.arange(0, BLOCK)
        z = tl.load(logits + v, mask=v < V, other=none).to(tl.float32)
        x = tl.maximum(z - first, -1e30)
        e = tl.exp(x)
        Z += tl.sum(e.to(tl.float64), 0)
        weighted += tl.sum((x * e).to(tl.float64), 0)

    packed = packed_ptr + a * WIDTH
    tl.store(packed, token)
    tl.store(packed + 1, rank)
    tl.store(packed + 2, logit.to(tl.int32, bitcast=True))
    tl.store(packed + 3, first.to(tl.int32, bitcast=True))
    tl.store(packed + 4, second.to(tl.int32, bitcast=True))
    mean = (total / finite).to(tl.float32)
    entropy = (tl.log(Z) - weighted / Z).to(tl.float32)
    tl.store(packed + 5, mean.to(tl.int32, bitcast=True))
    tl.store(packed + 6, entropy.to(tl.int32, bitcast=True))
    tl.store(packed + 7, (1 / Z).to(tl.float32).to(tl.int32, bitcast=True))


def logit_facts(logits, ints, rows, delimiters, index=None):
    A, V = len(ints), logits.shape[1]
    assert all(x.stride(-1) == 1 for x in (logits, ints, delimiters) if x.shape[-1] > 1)
    assert ints.dtype == delimiters.dtype == torch.int32
    packed = torch.empty((A, COLUMNS), dtype=torch.int32, device=logits.device)
    if A:
        index = identity(A, logits.device) if index is None else index
        logit_facts_kernel[(A,)](
            logits, index, ints, rows, delimiters, packed, V, logits.stride(0), ints.stride(0),
            delimiters.stride(0), num_warps=WARPS,
        )  # fmt: skip
    return LogitFacts(packed)
