"""`python -m sglang_soft_kernels.check`: every kernel compiles for GPUs that are not here, without
spills."""

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_every_kernel_compiles_without_spills():
    command = [sys.executable, "-m", "sglang_soft_kernels.check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    for architecture in (" 80 ", " 90 ", "100 "):
        assert done.stdout.count(architecture) >= 10
    assert done.stdout.endswith("no spills\n")


@pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="interpreted functions do not compile"
)
def test_a_spill_and_a_broken_kernel_fail_it(monkeypatch, capsys):
    from sglang_soft_kernels import check

    monkeypatch.setattr(
        check, "compile_variant", lambda variant, sm: check.Resources(255, 0, 8 * (sm == 90))
    )
    assert check.main(["--sm", "80"]) == 0
    assert check.main(["--sm", "80", "90"]) == 1

    def broken(variant, sm):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(check, "compile_variant", broken)
    assert check.main(["--sm", "80"]) == 1
    assert "no such instruction" in capsys.readouterr().out
