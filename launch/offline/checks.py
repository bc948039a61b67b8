"""Checks that run one after the other, each a command of its own with a time limit."""

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from launch import ROOT
from sglang_soft.server.process import end_group, start_group

Command = tuple[str, ...]


class Check(NamedTuple):
    name: str
    arguments: Command
    """Of this Python."""
    limit: int
    """Seconds."""

    @property
    def command(self) -> str:
        return shlex.join(["python", *self.arguments])


class Outcome(NamedTuple):
    check: Check
    problem: str
    """Empty: passed."""
    seconds: float
    output: list[str]

    @property
    def result(self) -> str:
        return self.problem or "passed"


def run(check: Check, env: Mapping[str, str] | None = None) -> Outcome:
    """Run a check and show its output as it comes. At its time limit everything that it started is
    killed: an engine that lived on would keep the GPU's memory from the next check."""
    print(f"\n== {check.name}: {check.command}", flush=True)
    start = time.monotonic()
    process = start_group(
        [sys.executable, *check.arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"} | dict(env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    late = threading.Event()

    def stop() -> None:
        late.set()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(check.limit, stop)
    timer.start()
    lines = []
    try:
        assert process.stdout
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            print(lines[-1], flush=True)
        process.wait()
    finally:
        timer.cancel()
        end_group(process, grace=10)
    problem = f"exit status {process.returncode}" if process.returncode else ""
    if late.is_set():
        problem = f"not done after {check.limit} s"
    elif not problem and "pytest" in check.arguments:
        problem = untested(lines)
    print(f"== {check.name}: {problem or 'passed'}", flush=True)
    return Outcome(check, problem, time.monotonic() - start, lines)


def untested(lines: Sequence[str]) -> str:
    """pytest is content when every test was skipped; a machine's report must not be."""
    summary = lines[-1] if lines else ""
    skipped = re.search(r"(\d+) skipped", summary)
    if not re.search(r"\d+ passed", summary):
        return f"no test passed: {summary}"
    return f"{skipped[1]} tests were skipped" if skipped else ""
