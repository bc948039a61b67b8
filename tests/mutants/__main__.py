"""`make mutants`: apply each mutant and run the tests that must kill it.

    python -m tests.mutants [name ...] [--unit]

A mutant is killed when a test named with it fails. A survivor, or a mutant that merely keeps the
tests from running, is an error; so is one whose target is gone.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from tests.mutants import MUTANTS, NAME, Mutant, patches  # noqa: F401 (fills MUTANTS)

ROOT = Path(__file__).resolve().parents[2]
ERROR = re.compile(r"\w+(Error|Exception|Exit)\b")


def run(mutant: Mutant) -> tuple[bool, str]:
    """(killed, why)."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {
        NAME: mutant.name,
        "SGLANG_SOFT_METHODS": "tests.mutants.apply",
        "PYTHONPATH": os.pathsep.join(paths),
        "COLUMNS": "240",  # one long line for each failed test
        "NO_COLOR": "1",
    }
    options = ["-q", "-s", "-x", "-p", "no:cacheprovider", "-p", "no:warnings"]
    command = [sys.executable, "-m", "pytest", *options, *shlex.split(mutant.tests)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", timeout=1200,
    )  # fmt: skip
    return verdict(mutant, done.returncode, done.stdout)


def verdict(mutant: Mutant, returncode: int, output: str) -> tuple[bool, str]:
    """(killed, why) from how pytest ended. Only a failed test kills, or the assertion that the
    mutant says stops the engine; an engine that cannot start, or that stops for another reason,
    says nothing about the promise."""
    lines = output.strip().splitlines() or [""]
    if returncode == 1:
        failed = [line for line in lines if line.startswith("FAILED ")]
        return bool(failed), (failed or lines)[-1]
    errors = [line for line in lines if ERROR.match(line)]
    why = f"exit status {returncode}: {(errors or lines)[-1]}"
    return bool(mutant.stops) and any(line.startswith(mutant.stops) for line in errors), why


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name")
    parser.add_argument("--unit", action="store_true", help="only those that need no engine")
    args = parser.parse_args()
    unknown = set(args.names) - set(MUTANTS)
    if unknown:
        parser.error(f"unknown mutant {', '.join(sorted(unknown))}; known: {', '.join(MUTANTS)}")
    chosen = [m for m in MUTANTS.values() if not args.names or m.name in args.names]
    if args.unit:
        chosen = [m for m in chosen if "tests/engine" not in m.tests]
    survivors = []
    for mutant in chosen:
        start = time.monotonic()
        killed, why = run(mutant)
        state = "killed" if killed else "SURVIVED"
        print(f"{state:9}{mutant.name:34}{time.monotonic() - start:5.0f} s  {why}", flush=True)
        survivors += [] if killed else [mutant.name]
    print(f"{len(chosen) - len(survivors)} killed, {len(survivors)} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
