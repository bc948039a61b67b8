"""Embedding mixture as one Triton launch; `naive` is its specification.

A program owns one token and BLOCK_H columns. Chain of dependent loads: row -> (ids, weights) ->
table -> store. Floor of the traffic: (slots in use + 1) * H * element size for a soft token, 2 * H
* element size for a plain one. Slots of weight 0 and ids of other ranks cost no table traffic.
Nothing depends on T, so a token's embedding has the same bits in any batch, and nothing is read on
the host, so a captured graph may replay it. k and what belongs to a request are no compile-time
values: a server has one variant with offsets and one without.
"""

import torch
import triton
import triton.language as tl

MAX_K = 64
SLOTS = tl.constexpr(8)
"""Table rows in flight; 16, used or not, would take twice the registers."""


@triton.jit
def _local_row(
    token_id, org_start, org_end, added_start, added_end, added_offset, SHARD: tl.constexpr
):
    """Vocabulary id -> (row of the local table, is it here), see `naive.localize`."""
    here = token_id == token_id
    if SHARD:
        org = (token_id >= org_start) & (token_id < org_end)
        here = org | ((token_id >= added_start) & (token_id < added_end))
        token_id = tl.where(org, token_id - org_start, token_id - added_offset)
    return token_id, here


@triton.jit(
    do_not_specialize=[
        "input_ids_ptr", "rows_ptr", "ids_ptr", "weights_ptr", "has_offset_ptr", "k", "ids_stride",
        "weights_stride", "org_start", "org_end", "added_start", "added_end", "added_offset",
    ]
)  # fmt: skip
def mixture_kernel(
    table_ptr,  # [Vs, H]
    input_ids_ptr,  # [T]
    rows_ptr,  # [T]
    ids_ptr,  # [R, k]
    weights_ptr,  # [R, k] float32
    offsets_ptr,  # [R, H], read if OFFSETS
    has_offset_ptr,  # [R] int8, read if OFFSETS
    out_ptr,  # [T, H]
    H,
    k,
    table_stride,
    ids_stride,
    weights_stride,
    offsets_stride,
    out_stride,
    org_start,
    org_end,
    added_start,
    added_end,
    added_offset,
    BLOCK_H: tl.constexpr,
    SHARD: tl.constexpr,
    OFFSETS: tl.constexpr,
    ADD_OFFSETS: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    cols = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    in_row = cols < H
    row = tl.load(rows_ptr + token).to(tl.int64)
    # Read before the branch, so that a plain token waits for one load less.
    plain_id = tl.load(input_ids_ptr + token).to(tl.int64)

    plain = tl.load(weights_ptr + row * weights_stride) == 0.0
    has = False
    if OFFSETS:
        has = tl.load(has_offset_ptr + row) != 0
        plain = plain & ~has
    if plain:
        local, here = _local_row(
            plain_id, org_start, org_end, added_start, added_end, added_offset, SHARD
        )
        # Stored without arithmetic: bit for bit the table's row.
        e = tl.load(table_ptr + local * table_stride + cols, mask=in_row & here, other=0.0)
        tl.store(out_ptr + token * out_stride + cols, e.to(out_ptr.dtype.element_ty), mask=in_row)
    else:
        acc = tl.zeros([BLOCK_H], dtype=tl.float32)
        for first in range(0, k, SLOTS):
            # One two-dimensional load: all its table rows are in flight together (an unrolled loop
            # of one-dimensional ones comes out of the compiler four at a time), and every thread
            # sums its own columns.
            slot = first + tl.arange(0, SLOTS)
            w = tl.load(weights_ptr + row * weights_stride + slot, mask=slot < k, other=0.0)
            token_id = tl.load(ids_ptr + row * ids_stride + slot, mask=slot < k, other=0).to(
                tl.int64
            )
            local, here = _local_row(
                token_id, org_start, org_end, added_start, added_end, added_offset, SHARD
            )
            used = (here & (w != 0.0))[:, None] & in_row[None, :]
            e = tl.load(
                table_ptr + (local * table_stride)[:, None] + cols[None, :], mask=used, other=0.0
            )
            acc += tl.sum(w[:, None] * e.to(tl.float32), axis=0)
        if OFFSETS and ADD_OFFSETS:
            v = tl.load(offsets_ptr + row * offsets_stride + cols, mask=in_row & has, other=0.0)
            acc += v.to(tl.float32)
        tl.store(out_ptr + token * out_stride + cols, acc.to(out_ptr.dtype.element_ty), mask=in_row)


def launch_config(H: int) -> dict[str, int]:
    """Compile-time sizes: 8 columns a thread is a 16-byte load of a 16-bit table."""
    block_h = max(32, min(1024, triton.next_power_of_2(H)))
    return {"BLOCK_H": block_h, "num_warps": max(1, block_h // 256)}


def embedding_mixture(
    table, input_ids, rows, ids, weights, *, offsets=None, has_offset=None, add_offsets=True,
    shard=None, out_dtype=None, out=None,
):  # fmt: skip
    """The last dimension of every tensor must be contiguous."""
    T, H, k = input_ids.shape[0], table.shape[1], ids.shape[1]
    if not 1 <= k <= MAX_K:
        raise ValueError(f"k = {k} is not in 1..{MAX_K}")
    if out is None:
        out = torch.empty((T, H), dtype=out_dtype or table.dtype, device=table.device)
    assert weights.dtype == torch.float32 and out.shape == (T, H) and out_dtype in (None, out.dtype)
    assert all(
        t.stride(-1) == 1 for t in (table, input_ids, rows, ids, weights, out) if t.shape[-1] > 1
    )
    if T == 0:
        return out
    config = launch_config(H)
    bounds = (0, 0, 0, 0, 0)
    if shard is not None:
        bounds = (
            shard.org_vocab_start_index,
            shard.org_vocab_end_index,
            shard.added_vocab_start_index,
            shard.added_vocab_end_index,
            shard.added_offset,
        )
    if offsets is None or has_offset is None:
        offsets, flags = table, weights.view(torch.int8)  # not read
    else:
        assert offsets.shape[1] == H and offsets.stride(1) == 1
        flags = has_offset.view(torch.int8)
    mixture_kernel[(T, triton.cdiv(H, config["BLOCK_H"]))](
        table, input_ids, rows, ids, weights, offsets, flags, out,
        H, k, table.stride(0), ids.stride(0), weights.stride(0), offsets.stride(0), out.stride(0),
        *bounds, SHARD=shard is not None, OFFSETS=has_offset is not None, ADD_OFFSETS=add_offsets,
        **config,
    )  # fmt: skip
    return out
