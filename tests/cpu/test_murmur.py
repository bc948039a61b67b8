"""The hash of SGLang's seeded sampling on a CPU has the bits of MurmurHash3, and of SGLang's kernel."""

import os
import subprocess
import sys

import pytest
import torch
from sglang_soft_cpu.murmur import murmur_hash32

pytestmark = pytest.mark.slow

WORD = 0xFFFFFFFF
SEEDS = [0, 42, -1, 2**53 - 1, -(2**63), 0x0123456789ABCDEF]
POSITIONS = [0, 1, 17, 2**20, 5, 131071]
COLUMNS = [0, 1, 2, 127, 128, 49151, 151935]


def rotated(x: int, by: int) -> int:
    return (x << by | x >> (32 - by)) & WORD


def murmur3(data: bytes) -> int:
    """MurmurHash3_x86_32 by Austin Appleby, public domain; seed 0, whole words."""
    h = 0
    for at in range(0, len(data), 4):
        k = int.from_bytes(data[at : at + 4], "little") * 0xCC9E2D51 & WORD
        h ^= rotated(k, 15) * 0x1B873593 & WORD
        h = (rotated(h, 13) * 5 + 0xE6546B64) & WORD
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & WORD
    h = (h ^ h >> 13) * 0xC2B2AE35 & WORD
    return h ^ h >> 16


def hashed() -> torch.Tensor:
    seeds = torch.tensor(SEEDS).to(torch.uint64)  # as SGLang gives them
    return murmur_hash32(seeds, torch.tensor(POSITIONS), torch.tensor(COLUMNS)).to(torch.int64)


def test_the_published_algorithm():
    def data(seed: int, *words: int) -> bytes:
        return (seed % 2**64).to_bytes(8, "little") + b"".join(
            w.to_bytes(4, "little") for w in words
        )

    wanted = [[murmur3(data(s, p, c)) for c in COLUMNS] for s, p in zip(SEEDS, POSITIONS)]
    assert hashed().tolist() == wanted


def test_sglangs_kernel_in_the_interpreter():
    code = f"""
import torch
from sglang.kernels.ops.sampling import murmur_hash
seeds = torch.tensor({SEEDS}).to(torch.uint64)
positions, columns = torch.tensor({POSITIONS}), torch.tensor({COLUMNS})
out = torch.empty(len(seeds), len(columns), dtype=torch.uint32)
murmur_hash.murmur_hash32_kernel[(len(seeds), 1)](
    seeds, positions, columns, out, len(seeds), len(columns), BLOCK_SIZE=8)
print(out.to(torch.int64).tolist())
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True,
        env=os.environ | {"TRITON_INTERPRET": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(hashed().tolist())
