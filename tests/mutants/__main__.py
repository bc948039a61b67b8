"""`make mutants`: apply each mutant and run the tests that must kill it.

    python -m tests.mutants [name ...] [--unit] [-j 2]

A mutant is killed when an assertion of a test named with it fails, or one of ours that ends the
engine. A survivor, a mutant that merely keeps the tests from running, and one whose target is gone
are errors.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.engine import preloaded
from tests.mutants import NAME, Mutant, load

ROOT = Path(__file__).resolve().parents[2]
FAILED = re.compile(r"^FAILED (?P<test>\S+( \S+)*?) - (?P<why>.*)$", re.M)
ASSERTION = re.compile(r"assert |AssertionError|Failed: |[\w.]*\.TraceMismatch")


def run(mutant: Mutant) -> tuple[bool, str, float]:
    """(killed, why, seconds)."""
    start = time.monotonic()
    env = {NAME: mutant.name, "COLUMNS": "300", "NO_COLOR": "1"}  # one long line for a failed test
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:warnings", "-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", *options, "-m", "", *shlex.split(mutant.tests)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", timeout=1200, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return *verdict(mutant, done.returncode, done.stdout), time.monotonic() - start


def verdict(mutant: Mutant, returncode: int, output: str) -> tuple[bool, str]:
    """(killed, why) from how pytest ended. An engine that cannot start, or that stops for another
    reason than the mutant's own, says nothing about the promise; nor does a test that is broken."""
    failed = FAILED.search(output)
    if returncode != 1 or failed is None:
        lines = output.strip().splitlines() or [""]
        return False, f"pytest ended with status {returncode}: {lines[-1]}"
    why = f"{failed['test']}: {failed['why']}"
    if "EngineDied" in failed["why"]:
        return bool(mutant.stops) and mutant.stops in output, mutant.stops or why
    return bool(ASSERTION.match(failed["why"])), why


def main() -> int:
    mutants = load()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name")
    parser.add_argument("--unit", action="store_true", help="only those that need no engine")
    parser.add_argument("-j", type=int, default=2, metavar="N", help="N at a time (default: 2)")
    args = parser.parse_args()
    unknown = set(args.names) - set(mutants)
    if unknown:
        parser.error(f"unknown mutant {', '.join(sorted(unknown))}; known: {', '.join(mutants)}")
    chosen = [m for m in mutants.values() if not args.names or m.name in args.names]
    if args.unit:
        chosen = [m for m in chosen if not m.in_engine]
    preloaded.owned_by_this_process()  # SGLang is imported once for all of them
    survivors = []
    with ThreadPoolExecutor(args.j) as pool:
        for mutant, (killed, why, seconds) in zip(chosen, pool.map(run, chosen), strict=True):
            state = "killed" if killed else "SURVIVED"
            print(f"{state:9}{mutant.name:34}{seconds:5.0f} s  {why}", flush=True)
            survivors += [] if killed else [mutant.name]
    print(f"{len(chosen) - len(survivors)} killed, {len(survivors)} survived", *survivors)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
