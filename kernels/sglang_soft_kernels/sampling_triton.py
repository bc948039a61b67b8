"""Soft sampling in two Triton launches and one read of the logits; `sampling_reference` is its
specification.

Launch 1, `scan_kernel`, streams [B, V] once: a program takes one tile and writes the largest logit
of each of its 64-token blocks (1/64 of the traffic) and the tile's share of Z and of the entropy.
Launch 2, `finish_kernel`, one program a row, adds the shares up and finds the W first tokens of the
order without another pass: they all lie in the W blocks with the largest maxima (equal maxima: the
earlier block). It reads those blocks again, keeps what can be among the W first, sorts that, and
filters as the reference does.

Tiles have a fixed size, so a row has the same bits whatever B is. Ties are exact: selection works
on the floats as ordered integers, the sort on (ordered float, ~id) in 64 bits.

Shapes: NT tiles of a row, W = power of two >= max(K, max_top_k).
"""

import torch
import triton
import triton.language as tl

from . import sampling_reference
from .sampling_reference import SoftSample

MAX_WIDTH = 128
"""Largest K or top_k of the kernels; above it `soft_sample` runs the reference, which sorts whole
rows."""

BLOCK = tl.constexpr(64)
TILE_BLOCKS = tl.constexpr(64)
LOWEST = tl.constexpr(-3.4028234663852886e38)
INT_MIN = tl.constexpr(-(2**31))


@triton.jit
def _ordered(x):
    """float32 -> int32 that compares as the float does; -0.0 equals 0.0, and INT_MIN is below every
    float."""
    bits = (x + 0.0).to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def scan_kernel(
    logits_ptr,  # [B, V]
    temperature_ptr,  # [B], any stride
    maxima_ptr,  # [B, NT * TILE_BLOCKS] float32: largest logit of each block
    shares_ptr,  # [B, 3, NT] float32: largest logit m, sum of e, sum of e * (z - m)
    V,
    NT,
    logits_stride,
    temperature_stride,
):
    tile = tl.program_id(0)
    b = tl.program_id(1).to(tl.int64)
    block = tile * TILE_BLOCKS + tl.arange(0, TILE_BLOCKS)
    ids = block[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    z = tl.load(logits_ptr + b * logits_stride + ids, mask=ids < V, other=float("-inf")).to(
        tl.float32
    )
    maxima = tl.max(z, axis=1)
    tl.store(maxima_ptr + b * NT * TILE_BLOCKS + block, maxima)

    # The bounds keep tiles of nothing but -inf free of inf - inf and 0 * inf.
    m = tl.maximum(tl.max(maxima, axis=0), LOWEST)
    x = tl.maximum(z - m, -1e30)
    e = tl.exp2(x * (1.4426950408889634 / tl.load(temperature_ptr + b * temperature_stride)))
    shares = shares_ptr + b * 3 * NT + tile
    tl.store(shares, m)
    tl.store(shares + NT, tl.sum(tl.sum(e, axis=1), axis=0))
    tl.store(shares + 2 * NT, tl.sum(tl.sum(e * x, axis=1), axis=0))


@triton.jit
def _select(keys, need, CAP: tl.constexpr):
    """Choose between `need` and CAP of the largest keys, all of them if there are fewer than
    `need`.

    keys: [N] int32, INT_MIN = absent. Returns (chosen [N], slot [N], count): slots 0..count-1 keep
    the order of the keys. Bisection for a threshold; only where more than CAP keys are equal to it
    does the order decide.
    """
    low = tl.min(tl.where(keys == INT_MIN, 0x7FFFFFFF, keys), axis=0)
    high = tl.max(keys, axis=0) + 1
    count = tl.sum((keys >= low).to(tl.int32), axis=0)
    while (count > CAP) & (low + 1 < high):
        middle = (low & high) + ((low ^ high) >> 1)  # the mean without overflow
        above = tl.sum((keys >= middle).to(tl.int32), axis=0)
        enough = above >= need
        low = tl.where(enough, middle, low)
        high = tl.where(enough, high, middle)
        count = tl.where(enough, above, count)
    above = keys >= high
    between = (keys >= low) & (keys < high)
    # Two prefix sums in one: below 2^15 keys, so neither half overflows.
    prefix = tl.cumsum(above.to(tl.int32) + (between.to(tl.int32) << 16), axis=0)
    room = CAP - tl.sum(above.to(tl.int32), axis=0)
    chosen = above | (between & ((prefix >> 16) <= room))
    slot = (prefix & 0xFFFF) + tl.minimum(prefix >> 16, room) - 1
    return chosen, slot, tl.minimum(count, CAP)


@triton.jit
def finish_kernel(
    logits_ptr,  # [B, V]
    temperature_ptr,  # [B], any stride, as are the next four
    top_k_ptr,
    top_p_ptr,
    min_p_ptr,
    n_ptr,
    maxima_ptr,
    shares_ptr,
    blocks_ptr,  # [B, BLOCKS] int32 scratch
    keys_ptr,  # [B, 2 * W] int64 scratch
    ids_ptr,  # [B, K] int32
    weights_ptr,  # [B, K] float32
    entropy_ptr,  # [B] float32
    V,
    NT,
    logits_stride,
    temperature_stride,
    top_k_stride,
    top_p_stride,
    min_p_stride,
    n_stride,
    K: tl.constexpr,
    W: tl.constexpr,
    BLOCKS: tl.constexpr,
    NT_POW2: tl.constexpr,
):
    b = tl.program_id(0).to(tl.int64)
    T = tl.load(temperature_ptr + b * temperature_stride)
    top_k = tl.load(top_k_ptr + b * top_k_stride)
    n = tl.load(n_ptr + b * n_stride)
    all_k = top_k > W  # off: an enabled top_k fits in W
    need = tl.minimum(tl.where(all_k, n, top_k), W)

    tiles = tl.arange(0, NT_POW2)
    shares = shares_ptr + b * 3 * NT + tiles
    tile_m = tl.load(shares, mask=tiles < NT, other=LOWEST)
    tile_e = tl.load(shares + NT, mask=tiles < NT, other=0.0)
    tile_ex = tl.load(shares + 2 * NT, mask=tiles < NT, other=0.0)
    m = tl.max(tile_m, axis=0)
    x = tl.maximum(tile_m - m, -1e30)
    scale = tl.exp2(x * (1.4426950408889634 / T))
    Z = tl.sum(tile_e * scale, axis=0)
    tl.store(entropy_ptr + b, tl.log(Z) - tl.sum((tile_ex + tile_e * x) * scale, axis=0) / (Z * T))

    block = tl.arange(0, NT_POW2 * TILE_BLOCKS)
    has_block = block * BLOCK < V
    maxima = tl.load(maxima_ptr + b * NT * TILE_BLOCKS + block, mask=has_block, other=0.0)
    chosen, slot, count = _select(tl.where(has_block, _ordered(maxima), INT_MIN), need, BLOCKS)
    tl.store(blocks_ptr + b * BLOCKS + slot, block, mask=chosen)
    tl.debug_barrier()  # other threads of this program read them next

    slots = tl.arange(0, BLOCKS)
    block = tl.load(blocks_ptr + b * BLOCKS + slots, mask=slots < count, other=0)
    ids = block[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    here = (slots < count)[:, None] & (ids < V)
    z = tl.load(logits_ptr + b * logits_stride + ids, mask=here, other=0.0).to(tl.float32)
    keys = tl.where(here, _ordered(z), INT_MIN)
    # Blocks are in ascending order, so the flat order is that of the ids.
    keys, ids = tl.reshape(keys, [BLOCKS * BLOCK]), tl.reshape(ids, [BLOCKS * BLOCK])
    chosen, slot, count = _select(keys, need, 2 * W)
    tl.store(
        keys_ptr + b * 2 * W + slot,
        (keys.to(tl.int64) << 32) | (0xFFFFFFFF - ids.to(tl.int64)),
        mask=chosen,
    )
    tl.debug_barrier()

    rank = tl.arange(0, 2 * W)
    key = tl.load(keys_ptr + b * 2 * W + rank, mask=rank < count, other=-(2**63))
    key = tl.sort(key, descending=True)
    token = tl.minimum(0xFFFFFFFF - (key & 0xFFFFFFFF), V - 1).to(tl.int32)
    bits = (key >> 32).to(tl.int32)
    z = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)
    e = tl.where(rank < count, tl.exp(tl.maximum(z - m, -1e30) / T), 0.0)
    total = tl.where(all_k, Z, tl.sum(tl.where(rank < top_k, e, 0.0), axis=0))
    keep = (e >= tl.load(min_p_ptr + b * min_p_stride)) & (rank < tl.minimum(n, K))
    keep = keep & (tl.cumsum(e, axis=0) - e <= tl.load(top_p_ptr + b * top_p_stride) * total)
    e = tl.where(keep, e, 0.0)
    first = tl.sum(tl.where(rank == 0, token, 0), axis=0)
    tl.store(ids_ptr + b * K + rank, tl.where(keep, token, first), mask=rank < K)
    tl.store(weights_ptr + b * K + rank, e / tl.sum(e, axis=0), mask=rank < K)


def launch_config(V: int, K: int, max_top_k: int) -> dict[str, int]:
    """Compile-time sizes of `finish_kernel`."""
    W = max(16, triton.next_power_of_2(max(K, max_top_k)))
    nt = triton.next_power_of_2(triton.cdiv(V, BLOCK.value * TILE_BLOCKS.value))
    blocks = max(W, min(64, 2 * W))
    return {"K": K, "W": W, "BLOCKS": blocks, "NT_POW2": nt, "num_warps": 8 if blocks <= 64 else 16}


def soft_sample(
    logits: torch.Tensor,
    temperature: torch.Tensor,
    top_k: torch.Tensor,
    top_p: torch.Tensor,
    min_p: torch.Tensor,
    n: torch.Tensor,
    *,
    K: int,
    max_top_k: int | None = None,
) -> SoftSample:
    """See `sampling_reference.soft_sample`.

    logits: [B, V] float32, float16 or bfloat16, rows contiguous; the others may be columns of
    larger tensors.
    """
    B, V = logits.shape
    if max_top_k is None or max(K, max_top_k) > MAX_WIDTH:
        return sampling_reference.soft_sample(
            logits, temperature, top_k, top_p, min_p, n, K=K, max_top_k=max_top_k
        )
    assert logits.stride(1) == 1 or V == 1
    device = logits.device
    ids = torch.empty((B, K), dtype=torch.int32, device=device)
    weights = torch.empty((B, K), dtype=torch.float32, device=device)
    entropy = torch.empty(B, dtype=torch.float32, device=device)
    if B == 0:
        return SoftSample(ids, weights, entropy)
    config = launch_config(V, K, max_top_k)
    tiles = triton.cdiv(V, BLOCK.value * TILE_BLOCKS.value)
    maxima = torch.empty((B, tiles * TILE_BLOCKS.value), dtype=torch.float32, device=device)
    shares = torch.empty((B, 3, tiles), dtype=torch.float32, device=device)
    blocks = torch.empty((B, config["BLOCKS"]), dtype=torch.int32, device=device)
    keys = torch.empty((B, 2 * config["W"]), dtype=torch.int64, device=device)
    scan_kernel[(tiles, B)](
        logits,
        temperature,
        maxima,
        shares,
        V,
        tiles,
        logits.stride(0),
        temperature.stride(0),
        num_warps=8,
    )
    finish_kernel[(B,)](
        logits, temperature, top_k, top_p, min_p, n, maxima, shares, blocks, keys, ids, weights, entropy,
        V, tiles, logits.stride(0), temperature.stride(0), top_k.stride(0), top_p.stride(0), min_p.stride(0),
        n.stride(0), **config,
    )  # fmt: skip
    return SoftSample(ids, weights, entropy)
