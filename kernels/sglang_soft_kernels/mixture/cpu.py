"""Embedding mixture as a compiled loop; `naive` is the specification."""

import torch

from ..compiled import NONE, compiled
from . import naive


@compiled
def mixture_loop(table, input_ids, rows, ids, weights, offsets, has_offset, add_offsets, out):
    H, k = table.shape[1], ids.shape[1]
    for t in range(rows.size):
        r = rows[t]
        fed = has_offset.size > 0 and has_offset[r]
        if weights[r, 0] == 0 and not fed:
            if not 0 <= input_ids[t] < table.shape[0]:
                raise IndexError("input id outside the embedding table")
            out[t] = table[input_ids[t]]
            continue
        out[t] = 0.0
        for i in range(k):
            w = weights[r, i]
            if w != 0:  # an unused slot may point at a row that holds inf or nan
                if not 0 <= ids[r, i] < table.shape[0]:
                    raise IndexError("id of a concept token outside the embedding table")
                source = table[ids[r, i]]
                for h in range(H):
                    out[t, h] += w * source[h]
        if fed and add_offsets:
            for h in range(H):
                out[t, h] += offsets[r, h]


def embedding_mixture(
    table, input_ids, rows, ids, weights, *, offsets=None, has_offset=None, add_offsets=True,
    shard=None, out_dtype=None, out=None,
):  # fmt: skip
    """The naive function runs for shards and for tables that are not float32."""
    dtypes = {table.dtype, out_dtype or torch.float32, torch.float32 if out is None else out.dtype}
    if shard is not None or dtypes != {torch.float32}:
        return naive.embedding_mixture.naive(
            table, input_ids, rows, ids, weights, offsets=offsets, has_offset=has_offset,
            add_offsets=add_offsets, shard=shard, out_dtype=out_dtype, out=out,
        )  # fmt: skip
    if out is None:
        out = table.new_empty((len(rows), table.shape[1]))
    if offsets is None or has_offset is None:
        offsets, fed = torch.empty((0, 0)), NONE
    else:
        fed = has_offset.numpy()
    mixture_loop(
        table.detach().numpy(), input_ids.numpy(), rows.numpy(), ids.numpy(), weights.numpy(),
        offsets.float().numpy(), fed, add_offsets, out.numpy(),
    )  # fmt: skip
    return out
