"""The machine that a figure comes from. Asks the driver, not PyTorch: a dry run must not wait for
its import."""

import os
import platform
import shutil
import subprocess
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def gpus() -> list[tuple[str, int, str]]:
    """(name, memory in MiB, driver) of each NVIDIA GPU; empty without one."""
    query = [
        "nvidia-smi",
        "--query-gpu=name,memory.total,driver_version",
        "--format=csv,noheader,nounits",
    ]
    try:
        lines = subprocess.run(
            query, capture_output=True, text=True, check=True
        ).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return []
    fields = [[part.strip() for part in line.split(",")] for line in lines if line.strip()]
    return [(name, int(memory), driver) for name, memory, driver in fields]


def machine() -> str:
    """Hardware and versions in one line."""
    cards = gpus()
    hardware = f"{platform.machine()}, {os.cpu_count()} cores"
    if cards:
        name, memory, driver = cards[0]
        hardware = f"{len(cards)} x {name} ({memory} MiB, driver {driver}), {hardware}"
    packages = ("sglang", "torch", "triton", "sglang-kernel", "flashinfer-python", "sglang-soft")
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    return f"{hardware}, Python {platform.python_version()}, {versions}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def cuda_home() -> dict[str, str]:
    """CUDA_HOME of the compiler that came as a wheel, where there is no other: FlashInfer, which
    compiles its kernels at first use, does not look there. Else empty."""
    given = "CUDA_HOME" in os.environ or "CUDA_PATH" in os.environ
    if given or shutil.which("nvcc") or Path("/usr/local/cuda/bin/nvcc").exists():
        return {}
    packages = Path(sysconfig.get_path("purelib"))
    found = sorted(packages.glob("nvidia/cu*/bin/nvcc"))
    return {"CUDA_HOME": str(found[-1].parents[1])} if found else {}
