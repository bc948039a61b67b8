"""`make gpu-check`: does Soft Thinking work on this CUDA machine, and what does it cost? Writes
GPU_REPORT.md.

    python launch/gpu_check.py                about 15 minutes; FlashInfer compiles its kernels at
    the first run python launch/gpu_check.py --dry-run      anywhere: what would be run

The checks, one after the other: every test marked `gpu`, kernel timings, a short run of
bench_gpu.py. The exit status is 0 if all of them passed.
"""

import argparse
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from hardware import machine
from measuring import ROOT

TAIL = 60
"""Lines of a check's output that the report shows."""


class Check(NamedTuple):
    name: str
    arguments: tuple[str, ...]
    """Of this Python."""
    limit: int
    """Seconds."""


CHECKS = (
    Check("GPU tests", ("-m", "pytest", "-m", "gpu", "-q", "-rs", "--tb=short"), 2400),
    Check("kernels", ("kernels/bench/bench_kernels.py",), 1200),
    Check("engine, random weights", ("launch/bench_gpu.py", "--quick"), 2400),
)


class Outcome(NamedTuple):
    check: Check
    problem: str
    """Empty: passed."""
    seconds: float
    output: list[str]


def run(check: Check) -> Outcome:
    print(f"\n== {check.name}: {command(check)}", flush=True)
    start = time.monotonic()
    lines: list[str] = []
    try:
        done = subprocess.run(
            [sys.executable, *check.arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=check.limit,
        )
        lines = done.stdout.splitlines()
        problem = f"exit status {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        lines = (
            output if isinstance(output, str) else output.decode(errors="replace")
        ).splitlines()
        problem = f"not done after {check.limit} s"
    if not problem and "pytest" in check.arguments:
        problem = untested(lines)
    print("\n".join(lines[-TAIL:]))
    print(f"== {check.name}: {problem or 'passed'}", flush=True)
    return Outcome(check, problem, time.monotonic() - start, lines)


def untested(lines: list[str]) -> str:
    """pytest is content when every test was skipped; a machine's report must not be."""
    summary = lines[-1] if lines else ""
    skipped = re.search(r"(\d+) skipped", summary)
    if not re.search(r"\d+ passed", summary):
        return f"no test passed: {summary}"
    return f"{skipped[1]} tests were skipped" if skipped else ""


def command(check: Check) -> str:
    return shlex.join(["python", *check.arguments])


def report(outcomes: list[Outcome], about: str) -> str:
    """One page of Markdown."""
    lines = [f"# GPU report, {time.strftime('%Y-%m-%d')}", "", about, "", f"Commit: {commit()}", ""]
    lines += ["| check | result | seconds | command |", "| --- | --- | --- | --- |"]
    for check, problem, seconds, _ in outcomes:
        lines.append(
            f"| {check.name} | {problem or 'passed'} | {seconds:.0f} | `{command(check)}` |"
        )
    for check, _, _, output in outcomes:
        lines += ["", f"## {check.name}", "```", *output[-TAIL:], "```"]
    return "\n".join(lines) + "\n"


def commit() -> str:
    git = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(git, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "GPU_REPORT.md")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be run; run nothing"
    )
    args = parser.parse_args()
    about = machine()
    if args.dry_run:
        print(about)
        for check in CHECKS:
            print(f"{check.name}, at most {check.limit} s: {command(check)}")
        print(f"report: {args.out.name}")
        return
    import torch

    if not torch.cuda.is_available():
        raise SystemExit(
            f"gpu-check needs a CUDA device that PyTorch can use, and finds none.\n{about}\n"
            "With a GPU in the machine: is it a CUDA build of torch, and is the driver new enough for it? "
            "--dry-run shows what would be run."
        )
    outcomes = [run(check) for check in CHECKS]
    args.out.write_text(report(outcomes, about))
    print(f"\nreport: {args.out}")
    sys.exit(any(outcome.problem for outcome in outcomes))


if __name__ == "__main__":
    main()
