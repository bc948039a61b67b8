"""Soft sampling in two Triton launches and one read of the logits; `naive` is its specification.

Launch 1, `scan_kernel`, streams the logits once: a program takes one tile and writes the largest
logit of each of its 64-token blocks (1/64 of the traffic) and the tile's share of Z and of the
entropy. Launch 2, `finish_kernel`, one program a row, adds the shares up and finds the W first
tokens of the order without another pass: they all lie in the W blocks with the largest maxima
(equal maxima: the earlier block). It reads those blocks again, keeps what can be among the W first,
sorts that, and filters as the naive function does.

Where the filter or a draw reaches beyond the W first tokens, two more launches do what these cannot
(`tail`): the mass of a top_k above W, before the second, and drawing, after it.

Tiles have a fixed size, so a row has the same bits whatever A is. Ties are exact: selection works
on the floats as ordered integers, the sort on (ordered float, ~id) in 64 bits. What varies between
batches (k, m, strides and alignment of the parameters) is no compile-time value; W is, and whether
the scan measures temperature 1 as well.

Shapes: A rows that are computed of N rows of the batch, NT tiles of a row, m unfiltered tokens,
W = power of two >= max(k, top_k_bound), at most 128.
"""

import torch
import triton
import triton.language as tl

from ..index import identity
from .naive import Drawn, SoftSample, Unfiltered
from .tail import INT_MIN, LOWEST, NO_TOP_P, draw_kernel, mass_of, ordered, total_kernel, unordered

MAX_WIDTH = 128
"""Largest W, and with it k."""

BLOCK = tl.constexpr(64)
TILE_BLOCKS = tl.constexpr(64)
LOG2E = tl.constexpr(1.4426950408889634)
SHARES = tl.constexpr(5)
TAIL_WARPS = 16


@triton.jit(do_not_specialize=["index_ptr", "temperature_ptr", "temperature_stride"])
def scan_kernel(
    logits_ptr,  # [N, V]
    index_ptr,  # [A] row of the batch
    temperature_ptr,  # [A], any stride
    maxima_ptr,  # [A, NT * TILE_BLOCKS] float32: largest logit of each block
    shares_ptr,  # [A, SHARES, NT] float32: largest logit z', sums of e and of e * (z - z'), and the
    # same two at temperature 1 if UNFILTERED
    V,
    NT,
    logits_stride,
    temperature_stride,
    UNFILTERED: tl.constexpr,
):
    tile = tl.program_id(0)
    a = tl.program_id(1).to(tl.int64)
    n = tl.load(index_ptr + a)
    block = tile * TILE_BLOCKS + tl.arange(0, TILE_BLOCKS)
    ids = block[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    logits = logits_ptr + n * logits_stride + ids
    z = tl.load(logits, mask=ids < V, other=float("-inf")).to(tl.float32)
    maxima = tl.max(z, axis=1)
    tl.store(maxima_ptr + a * NT * TILE_BLOCKS + block, maxima)

    # The bounds keep tiles of nothing but -inf free of inf - inf and 0 * inf.
    largest = tl.maximum(tl.max(maxima, axis=0), LOWEST)
    x = tl.maximum(z - largest, -1e30)
    T = tl.load(temperature_ptr + a * temperature_stride)
    e = tl.exp2(x * (LOG2E / T))
    shares = shares_ptr + a * SHARES * NT + tile
    tl.store(shares, largest)
    tl.store(shares + NT, tl.sum(tl.sum(e, axis=1), axis=0))
    tl.store(shares + 2 * NT, tl.sum(tl.sum(e * x, axis=1), axis=0))
    if UNFILTERED:
        e = tl.exp2(x * LOG2E)
        tl.store(shares + 3 * NT, tl.sum(tl.sum(e, axis=1), axis=0))
        tl.store(shares + 4 * NT, tl.sum(tl.sum(e * x, axis=1), axis=0))


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
def _total(tile_e, tile_ex, x, T):
    """Z and the entropy from the tiles' shares. x: their largest logits less the row's."""
    scale = tl.exp2(x * (LOG2E / T))
    Z = tl.sum(tile_e * scale, axis=0)
    return Z, tl.log(Z) - tl.sum((tile_ex + tile_e * x) * scale, axis=0) / (Z * T)


@triton.jit(
    do_not_specialize=[
        "index_ptr", "temperature_ptr", "top_k_ptr", "top_p_ptr", "min_p_ptr", "num_candidates_ptr",
        "ids_ptr", "weights_ptr", "entropy_ptr", "max_prob_ptr", "top_ids_ptr", "ratios_ptr",
        "entropy_1_ptr", "order_ptr", "counts_ptr", "totals_ptr", "beyond_ptr", "k", "m", "beyond",
        "drawing", "temperature_stride", "top_k_stride", "top_p_stride",
        "min_p_stride", "num_candidates_stride", "sizes_ptr", "sizes_stride",
    ]
)  # fmt: skip
def finish_kernel(
    logits_ptr,  # [N, V]
    index_ptr,  # [A] row of the batch
    temperature_ptr,  # [A], any stride, as are the next five
    top_k_ptr,
    top_p_ptr,
    min_p_ptr,
    num_candidates_ptr,
    sizes_ptr,
    maxima_ptr,
    shares_ptr,
    blocks_ptr,  # [A, BLOCKS] int32 scratch
    keys_ptr,  # [A, 2 * W] int64 scratch
    ids_ptr,  # [A, k] int32
    weights_ptr,  # [A, k] float32
    entropy_ptr,  # [A] float32
    max_prob_ptr,  # [A] float32
    top_ids_ptr,  # [A, m] int32
    ratios_ptr,  # [A, m] float32
    entropy_1_ptr,  # [A] float32, written if m > 0
    order_ptr,  # [A, 2 * W] int64: sorted candidates, written if drawing, as are the next two
    counts_ptr,  # [A] int32: how many they are
    totals_ptr,  # [A] float32: mass that top_p is a share of
    beyond_ptr,  # [A] float32: that mass where top_k is above W, read if `beyond`
    V,
    NT,
    k,
    m,
    beyond,
    drawing,
    logits_stride,
    temperature_stride,
    top_k_stride,
    top_p_stride,
    min_p_stride,
    num_candidates_stride,
    sizes_stride,
    W: tl.constexpr,
    BLOCKS: tl.constexpr,
    NT_POW2: tl.constexpr,
):
    a = tl.program_id(0).to(tl.int64)
    n = tl.load(index_ptr + a)
    T = tl.load(temperature_ptr + a * temperature_stride)
    top_k = tl.load(top_k_ptr + a * top_k_stride)
    num_candidates = tl.load(num_candidates_ptr + a * num_candidates_stride)
    all_k = top_k > W  # off, unless `beyond`
    need = tl.minimum(tl.maximum(tl.where(all_k, num_candidates, top_k), m), W)

    tiles = tl.arange(0, NT_POW2)
    shares = shares_ptr + a * SHARES * NT + tiles
    has_tile = tiles < NT
    tile_largest = tl.load(shares, mask=has_tile, other=LOWEST)
    tile_e = tl.load(shares + NT, mask=has_tile, other=0.0)
    tile_ex = tl.load(shares + 2 * NT, mask=has_tile, other=0.0)
    largest = tl.max(tile_largest, axis=0)
    x = tl.maximum(tile_largest - largest, -1e30)
    Z, entropy = _total(tile_e, tile_ex, x, T)
    tl.store(entropy_ptr + a, entropy)
    tl.store(max_prob_ptr + a, 1.0 / Z)
    measured = has_tile & (m > 0)
    tile_e = tl.load(shares + 3 * NT, mask=measured, other=1.0)
    tile_ex = tl.load(shares + 4 * NT, mask=measured, other=0.0)
    _, entropy_1 = _total(tile_e, tile_ex, x, 1.0)
    tl.store(entropy_1_ptr + a, entropy_1, mask=m > 0)

    block = tl.arange(0, NT_POW2 * TILE_BLOCKS)
    has_block = block * BLOCK < V
    maxima = tl.load(maxima_ptr + a * NT * TILE_BLOCKS + block, mask=has_block, other=0.0)
    chosen, slot, count = _select(tl.where(has_block, ordered(maxima), INT_MIN), need, BLOCKS)
    tl.store(blocks_ptr + a * BLOCKS + slot, block, mask=chosen)
    tl.debug_barrier()  # other threads of this program read them next

    slots = tl.arange(0, BLOCKS)
    block = tl.load(blocks_ptr + a * BLOCKS + slots, mask=slots < count, other=0)
    ids = block[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    here = (slots < count)[:, None] & (ids < V)
    z = tl.load(logits_ptr + n * logits_stride + ids, mask=here, other=0.0).to(tl.float32)
    keys = tl.where(here, ordered(z), INT_MIN)
    # Blocks are in ascending order, so the flat order is that of the ids.
    keys, ids = tl.reshape(keys, [BLOCKS * BLOCK]), tl.reshape(ids, [BLOCKS * BLOCK])
    chosen, slot, count = _select(keys, need, 2 * W)
    key = (keys.to(tl.int64) << 32) | (0xFFFFFFFF - ids.to(tl.int64))
    tl.store(keys_ptr + a * 2 * W + slot, key, mask=chosen)
    tl.debug_barrier()

    rank = tl.arange(0, 2 * W)
    key = tl.load(keys_ptr + a * 2 * W + rank, mask=rank < count, other=-(2**63))
    key = tl.sort(key, descending=True)
    token = tl.minimum(0xFFFFFFFF - (key & 0xFFFFFFFF), V - 1).to(tl.int32)
    z = unordered((key >> 32).to(tl.int32))
    tl.store(top_ids_ptr + a * m + rank, token, mask=rank < m)
    tl.store(ratios_ptr + a * m + rank, mass_of(z, largest, 1.0), mask=rank < m)
    e = tl.where(rank < count, mass_of(z, largest, T), 0.0)
    total = tl.where(all_k, Z, tl.sum(tl.where(rank < top_k, e, 0.0), axis=0))
    min_p = tl.load(min_p_ptr + a * min_p_stride)
    top_p = tl.load(top_p_ptr + a * top_p_stride)
    searched = (beyond != 0) & all_k & (top_k < V) & (top_p < NO_TOP_P)
    total = tl.where(searched, tl.load(beyond_ptr + a, mask=searched, other=0.0), total)
    tl.store(order_ptr + a * 2 * W + rank, key, mask=(rank < count) & (drawing != 0))
    tl.store(counts_ptr + a, count, mask=drawing != 0)
    tl.store(totals_ptr + a, total, mask=drawing != 0)
    size = tl.minimum(tl.load(sizes_ptr + a * sizes_stride), k)
    keep = (e >= min_p) & (rank < tl.minimum(num_candidates, size))
    keep = keep & (tl.cumsum(e, axis=0) - e <= top_p * total)
    e = tl.where(keep, e, 0.0)
    first = tl.sum(tl.where(rank == 0, token, 0), axis=0)
    tl.store(ids_ptr + a * k + rank, tl.where(keep, token, first), mask=rank < k)
    tl.store(weights_ptr + a * k + rank, e / tl.sum(e, axis=0), mask=rank < k)


def launch_config(V: int, W: int) -> dict[str, int]:
    """Compile-time sizes of `finish_kernel`."""
    tiles = triton.next_power_of_2(triton.cdiv(V, BLOCK.value * TILE_BLOCKS.value))
    blocks = max(W, min(64, 2 * W))
    num_warps = 8 if blocks <= 64 else 16
    return {"W": W, "BLOCKS": blocks, "NT_POW2": tiles, "num_warps": num_warps}


def soft_sample(
    logits, temperature, top_k, top_p, min_p, num_candidates, *, k, sizes=None, top_k_bound=None,
    index=None, unfiltered=0, uniforms=None,
):  # fmt: skip
    """logits: float32, float16 or bfloat16, rows contiguous; the others may be columns.

    Raises:
        ValueError: k is above 128.
    """
    A, V = len(temperature), logits.shape[1]
    if k > MAX_WIDTH:
        raise ValueError(f"k = {k} slots; the kernel takes 1..{MAX_WIDTH}.")
    sizes = num_candidates if sizes is None else sizes
    assert logits.stride(1) == 1 or V == 1
    device, m, drawing = logits.device, unfiltered, uniforms is not None

    def floats(*shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.float32, device=device)

    def ints(*shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.int32, device=device)

    sample = SoftSample(ints(A, k), floats(A, k), floats(A), floats(A))
    at_one = Unfiltered(ints(A, m), floats(A, m), floats(A))
    n = uniforms.shape[1] if drawing else 0
    drawn = Drawn(ints(A, n), ints(A, n), floats(A, n))
    result = sample._replace(unfiltered=at_one if m else None, drawn=drawn if drawing else None)
    if A == 0:
        return result
    index = identity(A, device) if index is None else index
    beyond = top_k_bound is None or top_k_bound > MAX_WIDTH
    # As many candidates as there may be to draw from: each that is none costs a search.
    W = MAX_WIDTH if beyond or drawing else triton.next_power_of_2(max(16, k, top_k_bound))
    config = launch_config(V, W)
    tiles = triton.cdiv(V, BLOCK.value * TILE_BLOCKS.value)
    maxima, shares = floats(A, tiles * TILE_BLOCKS.value), floats(A, SHARES.value, tiles)
    blocks, counts, totals, beyond_totals = ints(A, config["BLOCKS"]), ints(A), floats(A), floats(A)
    keys, order = torch.empty((2, A, 2 * W), dtype=torch.int64, device=device)
    strides = [x.stride(0) for x in (logits, temperature, top_k, top_p, min_p)]
    strides += [num_candidates.stride(0), sizes.stride(0)]
    scan_kernel[(tiles, A)](
        logits, index, temperature, maxima, shares, V, tiles, *strides[:2], UNFILTERED=m > 0,
        num_warps=8,
    )  # fmt: skip
    if beyond:
        total_kernel[(A,)](
            logits, index, temperature, top_k, top_p, shares, beyond_totals, V, tiles, strides[0],
            shares.stride(0), *strides[1:4], NT_POW2=config["NT_POW2"], W=W, num_warps=TAIL_WARPS,
        )  # fmt: skip
    finish_kernel[(A,)](
        logits, index, temperature, top_k, top_p, min_p, num_candidates, sizes, maxima, shares,
        blocks, keys, *sample[:4], *at_one, order, counts, totals, beyond_totals, V, tiles, k, m,
        int(beyond), int(drawing), *strides, **config,
    )  # fmt: skip
    if n:
        draw_kernel[(A, n)](
            logits, index, temperature, top_p, min_p, num_candidates, uniforms, order, counts,
            totals, *drawn, V, n, *strides[:2], *strides[3:6], uniforms.stride(0), order.stride(0),
            num_warps=TAIL_WARPS,
        )  # fmt: skip
    return result
