"""Where a run's figures come from: versions, hardware, commit, prompt. Written into `run.json`."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from sglang_soft_evals import benchmarks
from sglang_soft_evals.config import RunConfig

PACKAGES = (
    "sglang-soft",
    "sglang",
    "torch",
    "transformers",
    "sgl-eval",
    "math-verify",
    "latex2sympy2-extended",
)
SERVER_FIELDS = (
    "dtype", "quantization", "kv_cache_dtype", "tp_size", "dp_size", "attention_backend", "sampling_backend",
    "max_running_requests", "enable_deterministic_inference", "random_seed", "reasoning_parser",
)  # fmt: skip
"""Of `/server_info`, where the server has it: what can change figures."""


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def hardware() -> str:
    """Of the machine that the run is on, in words."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ", ".join([f"{name}, {cores} cores", *_gpus()])


def _gpus() -> list[str]:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(
            "\n"
        )[:-1]
    except (OSError, subprocess.CalledProcessError):
        return []


def commit() -> str:
    """Of the checkout that this package lies in; `unknown` where it is installed without one."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + (" with changes" if changed.stdout.strip() else "")


def collect(config: RunConfig, model: str, server_info: dict[str, Any]) -> dict[str, Any]:
    row = benchmarks.get(config.benchmark)
    return {
        "versions": versions(),
        "hardware": hardware(),
        "commit": commit(),
        "started": now(),
        "command": shlex.join(
            ["sglang-soft", "eval", *sys.argv[1 + (sys.argv[1:2] == ["eval"]) :]]
        ),
        "model": model,
        "prompt_template": benchmarks.template(config.prompt or row.prompt),
        "source": config.data or row.source,
        "grader": row.grader,
        "judge": None if config.judge is None else config.judge.model,
        "sampling": config.to_dict()["sampling"],
        "server": {
            name: server_info[name] for name in SERVER_FIELDS if server_info.get(name) is not None
        },
    }
