"""The kernel benchmark runs; its figures need a GPU."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "kernels" / "bench" / "bench_kernels.py"


def _run(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return caught.value.code


@pytest.mark.slow
def test_dry_run(monkeypatch, tmp_path):
    report = tmp_path / "kernels.json"
    assert _run(monkeypatch, "--dry-run", "--json", report) == 0
    figures = json.loads(report.read_text())
    assert figures["dry_run"] is True
    assert {f["implementation"] for f in figures["figures"]} >= {
        "soft_sample",
        "embedding_mixture",
        "eager",
    }


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_refuses_to_measure(monkeypatch, capsys):
    assert _run(monkeypatch) == 1
    assert "--dry-run" in capsys.readouterr().err
