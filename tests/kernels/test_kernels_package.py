"""What importing the package may do: SGLang loads plugins before CUDA is set up."""

import subprocess
import sys

import pytest


def _in_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_brings_neither_torch_nor_triton_nor_numba():
    code = "import sys, sglang_soft_kernels; print(sorted({'torch', 'triton', 'numba'} & set(sys.modules)))"
    assert _in_new_process(code) == "[]"


@pytest.mark.slow
def test_cpu_path_needs_no_triton():
    code = """
import sys
sys.modules["triton"] = None
import torch
import sglang_soft_kernels as k
one = torch.ones(1)
zero = torch.zeros(1, dtype=torch.int64)
s = k.soft_sample(torch.tensor([[0.0, 2.0]]), one, zero + 2, one, one * 0.1, zero + 1, k=2)
print(s.ids.tolist(), k.embedding_mixture(torch.eye(2), zero, zero, s.ids, s.weights).tolist())
"""
    assert _in_new_process(code) == "[[1, 1]] [[0.0, 1.0]]"


def test_kernels_is_hugging_faces_package():
    """A package named `kernels` of ours would shadow the one that SGLang and transformers
    import."""
    kernels = pytest.importorskip("kernels")
    assert "site-packages" in (kernels.__file__ or "")
