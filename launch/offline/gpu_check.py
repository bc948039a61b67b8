"""`make gpu-check`: does Soft Thinking work on this CUDA machine, and what does it cost? Writes
GPU_REPORT.md.

    python -m launch.offline.gpu_check                about 15 minutes; FlashInfer compiles its
                                                      kernels at the first run
    python -m launch.offline.gpu_check --dry-run      anywhere: what would be run

The checks, one after the other: `tests` (every test marked `gpu`), `kernels` (their timings),
`engine` (a short run of `launch.bench.gpu` with random weights). Any Python that has the project
and its requirements will do. The exit status is 0 if all checks passed. On a host without SGLang,
see `launch.offline.kernels_only`.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from launch import ROOT
from launch.bench.hardware import cuda_home, machine
from launch.bench.turns import markdown
from launch.offline.checks import Check, Outcome, run

TAIL = 60
"""Lines of a check's output that the report shows."""
CHECKS = (
    Check("tests", ("-m", "pytest", "-m", "gpu", "-q", "-rs", "--tb=short"), 2400),
    Check("kernels", ("kernels/bench/bench_kernels.py",), 1200),
    Check(
        "engine",
        ("-m", "launch.bench.gpu", "--quick", "--time-limit", "2300"),
        2400,
    ),
)


def report(outcomes: Sequence[Outcome], about: str) -> str:
    """One page of Markdown."""
    rows = [(o.check.name, o.result, f"{o.seconds:.0f}", f"`{o.check.command}`") for o in outcomes]
    lines = [f"# GPU report, {time.strftime('%Y-%m-%d')}", "", about, "", f"Commit: {commit()}", ""]
    lines.append(markdown(["check", "result", "seconds", "command"], rows))
    for outcome in outcomes:
        lines += ["", f"## {outcome.check.name}", "```", *outcome.output[-TAIL:], "```"]
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
    names = [check.name for check in CHECKS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="default: all")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be run; run nothing"
    )
    args = parser.parse_args()
    checks = [check for check in CHECKS if check.name in args.only]
    about = machine()
    if args.dry_run:
        print(about)
        for check in checks:
            print(f"{check.name}, at most {check.limit} s: {check.command}")
        print(f"report: {args.out.name}")
        return
    import torch

    if not torch.cuda.is_available():
        raise SystemExit(
            f"gpu-check needs a CUDA device that PyTorch can use, and finds none.\n{about}\n"
            "With a GPU in the machine: is it a CUDA build of torch, and is the driver new enough "
            "for it? --dry-run shows what would be run."
        )
    outcomes: list[Outcome] = []
    for check in checks:
        outcomes.append(run(check, cuda_home()))
        args.out.write_text(report(outcomes, about))
    print(f"\nreport: {args.out}")
    sys.exit(any(outcome.problem for outcome in outcomes))


if __name__ == "__main__":
    main()
