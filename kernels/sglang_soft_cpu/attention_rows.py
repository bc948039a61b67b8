"""Attention of one query row after the other, in compiled loops: a row's bits depend on its query
and on the keys and values that it sees, never on the rest of the batch.

The sum over head_dim and the sum over keys both run in order, so a decode, a chunk of a prefill and
a prefill after a cached prefix give a row the same bits. There is no fused multiply-add: Numba
contracts nothing without `fastmath`.
"""

import math
from typing import Any

import numpy as np
import torch
from sglang_soft_kernels.compiled import compiled

from sglang_soft_cpu.attention_metadata import Span

DTYPES = (torch.float32, torch.bfloat16)


@compiled
def _gather(buffer, slots, head, out):
    """out[i] = buffer[slots[i], head]"""
    for i in range(slots.size):
        for d in range(buffer.shape[2]):
            out[i, d] = buffer[slots[i], head, d]


@compiled
def _gather_bfloat16(buffer, slots, head, out):
    """buffer holds bfloat16 as int16: the upper halves of float32."""
    bits = out.view(np.int32)
    for i in range(slots.size):
        for d in range(buffer.shape[2]):
            bits[i, d] = np.int32(buffer[slots[i], head, d]) << 16


def _attend_loop(gather):
    @compiled
    def attend_loop(
        q, keys, values, spans, req_to_token, slot_map, scaling, cap, window, causal, out
    ):
        heads, kv_heads = q.shape[1], keys.shape[1]
        group, width, v_width = heads // kv_heads, keys.shape[2], values.shape[2]
        longest = 0
        for s in range(spans.shape[0]):
            longest = max(longest, spans[s, 2] + spans[s, 3])
        k, v = np.empty((longest, width), np.float32), np.empty((longest, v_width), np.float32)
        transposed = np.empty((width, longest), np.float32)
        scores: np.ndarray = np.empty(longest, np.float32)
        for s in range(spans.shape[0]):
            row, q_start, q_len, position = spans[s]
            first = max(0, position - window) if window >= 0 else 0
            count = position + q_len - first
            slots = np.empty(count, np.int64)
            for i in range(count):
                slot = req_to_token[row, first + i]
                slots[i] = slot_map[slot] if slot_map.size > 0 else slot
            for head in range(kv_heads):
                gather(keys, slots, head, k)
                gather(values, slots, head, v)
                for i in range(count):
                    for d in range(width):
                        transposed[d, i] = k[i, d]
                for i in range(q_len):
                    at = position + i
                    stop = at + 1 - first if causal else count
                    start = max(0, at - window - first) if window >= 0 else 0
                    for h in range(head * group, (head + 1) * group):
                        scores[start:stop] = np.float32(0)
                        for d in range(width):
                            x = q[q_start + i, h, d] * scaling
                            for j in range(start, stop):
                                scores[j] += x * transposed[d, j]
                        if cap > 0:
                            for j in range(start, stop):
                                scores[j] = np.float32(math.tanh(scores[j] / cap)) * cap
                        largest: Any = np.float32(-np.inf)
                        for j in range(start, stop):
                            if scores[j] > largest:
                                largest = scores[j]
                        total = np.float32(0)
                        for j in range(start, stop):
                            scores[j] = math.exp(scores[j] - largest)
                            total += scores[j]
                        result = out[q_start + i, h]
                        result[:] = np.float32(0)
                        for j in range(start, stop):
                            x = scores[j]
                            for d in range(v_width):
                                result[d] += x * v[j, d]
                        for d in range(v_width):
                            result[d] /= total

    return attend_loop


_LOOPS = {
    torch.float32: _attend_loop(_gather),
    torch.bfloat16: _attend_loop(_gather_bfloat16),
}


def attend(
    q: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    spans: list[Span],
    req_to_token: torch.Tensor,
    *,
    slot_map: torch.Tensor | None,
    scaling: float,
    cap: float,
    window: int | None,
    causal: bool,
) -> torch.Tensor:
    """[T, H, D_v] in q's dtype; zeros where no span has a token.

    Args:
        q: [T, H, D]. keys, values: [slots, H_kv, D or D_v], float32 or bfloat16.
        req_to_token: [rows, positions] int32, slots of the full pool.
        slot_map: [slots] slot of the full pool -> slot of these buffers; None: the same.
        scaling, cap: of the scores; cap 0: none.
        window: keys before a query's own that it sees; None: all.
        causal: no query sees a later key.
    """
    out = torch.zeros(*q.shape[:2], values.shape[2])
    table: np.ndarray = np.array(spans, np.int64).reshape(-1, len(Span._fields))
    no_map: np.ndarray = np.empty(0, np.int64)
    _LOOPS[keys.dtype](
        q.float().contiguous().numpy(),
        *(x.view(torch.int16).numpy() if x.dtype == torch.bfloat16 else x.numpy()
          for x in (keys, values)),
        table, req_to_token.numpy(),
        no_map if slot_map is None else slot_map.long().numpy(),
        np.float32(scaling), np.float32(cap), -1 if window is None else window, causal, out.numpy(),
    )  # fmt: skip
    return out.to(q.dtype)
