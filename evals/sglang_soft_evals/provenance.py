"""What the figures of a run depend on: versions, hardware, commit, prompt. Part of `run.json`."""

import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from sglang_soft_evals import benchmarks
from sglang_soft_evals.config import RunConfig

GRADERS = ("sgl-eval", "math-verify", "latex2sympy2-extended")
PACKAGES = ("sglang-soft", "sglang", "torch", "transformers", *GRADERS)
SERVER_FIELDS = (
    "dtype",
    "quantization",
    "kv_cache_dtype",
    "tp_size",
    "dp_size",
    "attention_backend",
    "sampling_backend",
    "max_running_requests",
    "enable_deterministic_inference",
    "random_seed",
    "reasoning_parser",
)
"""Of `/server_info`, as far as the server has them: what can change figures."""


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
    """The machine that the run is on, in words."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]) or ""
    return ", ".join([f"{name}, {cores} cores", *gpus.splitlines()])


def commit() -> str:
    """The commit of the checkout that holds this package; `unknown` if there is none."""
    git = ["git", "-C", str(Path(__file__).parent)]
    head = _output([*git, "rev-parse", "HEAD"])
    changed = _output([*git, "status", "--porcelain", "-uno"])
    if head is None or changed is None:
        return "unknown"
    return head + (" with changes" if changed else "")


def _output(command: list[str]) -> str | None:
    """What a command prints; None if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def command_line(argv: list[str]) -> str:
    """The command that started the run, without the API key."""
    words = argv[1 + (argv[1:2] == ["eval"]) :]
    for index, word in enumerate(words):
        if word.startswith("--api-key="):
            words[index] = "--api-key=..."
        elif index and words[index - 1] == "--api-key":
            words[index] = "..."
        words[index] = re.sub(r"//[^/]*@", "//...@", words[index])
    return shlex.join(["sglang-soft", "eval", *words])


def collect(config: RunConfig, model: str, server_info: dict[str, Any]) -> dict[str, Any]:
    """The provenance of a run. server_info: what `/server_info` answers."""
    row = benchmarks.get(config.benchmark)
    server = {name: value for name in SERVER_FIELDS if (value := server_info.get(name)) is not None}
    return {
        "versions": versions(),
        "hardware": hardware(),
        "commit": commit(),
        "started": now(),
        "command": command_line(sys.argv),
        "model": model,
        "prompt_template": benchmarks.template(config.prompt or row.prompt),
        "source": config.data or row.source,
        "grader": config.graded_by,
        "judge": None if config.judge is None else config.judge.model,
        "sampling": config.to_dict()["sampling"],
        "server": server,
    }
