"""The kernel benchmark runs; its figures need a GPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "kernels" / "bench" / "bench_kernels.py"


def _run(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=600
    )


@pytest.mark.slow
def test_dry_run(tmp_path):
    report = tmp_path / "kernels.json"
    done = _run("--dry-run", "--json", report)
    assert done.returncode == 0, done.stderr
    figures = json.loads(report.read_text())
    assert figures["dry_run"] is True
    assert {f["implementation"] for f in figures["figures"]} >= {
        "soft_sample",
        "embedding_mixture",
        "eager",
    }


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_refuses_to_measure():
    done = _run()
    assert done.returncode == 1 and "--dry-run" in done.stderr
