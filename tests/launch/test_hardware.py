"""Where FlashInfer finds the compiler that came as a wheel."""

import shutil
import sysconfig
from pathlib import Path

import pytest

from launch.bench.hardware import cuda_home


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No compiler but that of the wheel."""
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    there = Path.exists
    monkeypatch.setattr(Path, "exists", lambda p: "/usr/local" not in str(p) and there(p))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    wheel = tmp_path / "nvidia" / "cu13" / "bin"
    wheel.mkdir(parents=True)
    (wheel / "nvcc").touch()
    return wheel.parent


def test_the_wheels_compiler_is_used_where_there_is_no_other(bare, monkeypatch):
    assert cuda_home() == {"CUDA_HOME": str(bare)}
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/nvcc")
    assert cuda_home() == {}


def test_what_is_given_wins_and_without_a_compiler_there_is_none(bare, monkeypatch):
    (bare / "bin" / "nvcc").unlink()
    assert cuda_home() == {}
    monkeypatch.setenv("CUDA_PATH", "/opt/cuda")
    assert cuda_home() == {}
