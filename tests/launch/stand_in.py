"""A stand-in for SGLang: everything of the benchmarks but the engine runs in seconds."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from launch import ROOT

SGLANG = """
import importlib.metadata, os, pathlib, time

import sglang_soft

class Engine:
    _scheduler_init_result = type("", (), {"scheduler_infos": [{"max_total_num_tokens": 99999}]})

    def __init__(self, *, model_path, **kwargs):
        if os.environ.get("BROKEN"):
            raise RuntimeError("no such device")
        (found,) = importlib.metadata.entry_points(group="sglang.srt.plugins", name="sglang_soft")
        with open(os.environ["STARTED"], "a") as file:
            file.write(f"{os.getpid()} {sglang_soft.__file__} {found.value}\\n")
        print("a library says hello")

    def generate(self, sampling_params, prompt=None, input_ids=None):
        if os.environ.get("HANG"):
            time.sleep(1000)
        assert len(sampling_params) == len(prompt or input_ids)
        for ids in input_ids or ():
            assert ids[-1] == int(os.environ["SGLANG_SOFT_THINK_START"])
        outs = []
        for params in sampling_params:
            tokens, soft = params["max_new_tokens"], "custom_params" in params
            assert os.environ["SGLANG_PLUGINS"] == "" or not soft, "soft without the plugin"
            info = {"completion_tokens": tokens}
            if soft:
                thinking = tokens - ("SHORT_THOUGHT" in os.environ)
                info["soft_thinking"] = {"thinking_tokens": thinking}
            outs.append({"meta_info": info})
        time.sleep(0.001 * tokens)
        return outs

    def shutdown(self):
        pass
"""


@contextmanager
def bench(folder: Path, module: str, *args: str, **env: str):
    """`python -m launch.bench.MODULE` with the stand-in, as a running process. The engines write
    their process id, package and entry point to folder / "started"."""
    (folder / "sglang.py").write_text(SGLANG)
    paths = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-m", f"launch.bench.{module}", *args],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths, "STARTED": str(folder / "started")} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def run(folder: Path, module: str, *args: str, **env: str) -> tuple[int, str, str]:
    """(exit status, output, errors)"""
    with bench(folder, module, *args, **env) as process:
        out, errors = process.communicate(timeout=120)
        return process.returncode, out, errors


def started(folder: Path) -> list[list[str]]:
    """[process id, file of sglang_soft, entry point] of each engine so far."""
    path = folder / "started"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []
