"""MurmurHash3 (32 bits) as SGLang's seeded sampling uses it, for a CPU: SGLang has it as a Triton
kernel, and for CPUs in a build of sglang-kernel that its wheel does not hold.

Source: sglang.kernels.ops.sampling.murmur_hash; the hash is that of the 16 bytes of seed, position
and column, little-endian, with the hash seed 0.
"""

import numpy as np
import torch
from sglang_soft_kernels.compiled import compiled


@compiled
def _mix(h, k):
    k = np.uint32(k * np.uint32(0xCC9E2D51))
    k = np.uint32(k << np.uint32(15)) | np.uint32(k >> np.uint32(17))
    h = np.uint32(h ^ np.uint32(k * np.uint32(0x1B873593)))
    h = np.uint32(h << np.uint32(13)) | np.uint32(h >> np.uint32(19))
    return np.uint32(h * np.uint32(5) + np.uint32(0xE6546B64))


@compiled
def _hashes(low, high, positions, columns, out):
    for row in range(out.shape[0]):
        own = _mix(_mix(_mix(np.uint32(0), low[row]), high[row]), positions[row])
        for i in range(out.shape[1]):
            h = np.uint32(_mix(own, columns[i]) ^ np.uint32(16))
            h = np.uint32((h ^ np.uint32(h >> np.uint32(16))) * np.uint32(0x85EBCA6B))
            h = np.uint32((h ^ np.uint32(h >> np.uint32(13))) * np.uint32(0xC2B2AE35))
            out[row, i] = np.uint32(h ^ np.uint32(h >> np.uint32(16)))


def murmur_hash32(
    seed: torch.Tensor, positions: torch.Tensor, col_indices: torch.Tensor
) -> torch.Tensor:
    """[n, m] uint32. seed: [n], of 64 bits; positions: [n] int; col_indices: [m] int."""
    words = seed.contiguous().view(torch.int64).numpy().view(np.uint64)
    out: np.ndarray = np.empty((len(seed), len(col_indices)), np.uint32)
    low, high = words & np.uint64(0xFFFFFFFF), words >> np.uint64(32)
    _hashes(
        low.astype(np.uint32), high.astype(np.uint32),
        positions.numpy().astype(np.uint32), col_indices.numpy().astype(np.uint32), out,
    )  # fmt: skip
    return torch.from_numpy(out)
