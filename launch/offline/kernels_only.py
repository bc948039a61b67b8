"""The Triton kernels on a bare GPU host: Python, torch, triton, numpy and pytest, without SGLang.

    python3 -m launch.offline.kernels_only              ten minutes at most
    python3 -m launch.offline.kernels_only --dry-run    anywhere: what would be run

Nothing needs to be installed. The checks: the kernel tests marked `gpu`, kernel timings, and
whether a decode step of the plugin waits for the device. The last one needs msgspec and orjson as
well. The exit status is 0 if all checks passed.
"""

import argparse
import importlib.util
import os
import sys

from launch import ROOT
from launch.bench.hardware import machine
from launch.offline.checks import Check, run


def gpu_tests(folder: str) -> tuple[str, ...]:
    """Its files with a test marked `gpu`. The others may import what such a host lacks."""
    files = sorted((ROOT / folder).rglob("test_*.py"))
    return tuple(str(f.relative_to(ROOT)) for f in files if "mark.gpu" in f.read_text())


PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "-m", "gpu", "-q", "-rs", "--tb=short")
# --confcutdir: the conftest of all tests asks for packages that such a host lacks.
CHECKS = (
    Check(
        "kernel tests", (*PYTEST, "--confcutdir=tests/kernels", *gpu_tests("tests/kernels")), 240
    ),
    Check("kernel timings", ("kernels/bench/bench_kernels.py",), 270),
    Check(
        "no synchronisation",
        (*PYTEST, "--confcutdir=tests/gpu", "tests/gpu/test_synchronisation.py"),
        60,
    ),
)
NEEDS = {"no synchronisation": ("msgspec", "orjson")}
"""Packages besides those of the bare host, by check."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be run")
    args = parser.parse_args()
    paths = [ROOT, ROOT / "kernels", *filter(None, [os.environ.get("PYTHONPATH")])]
    path = os.pathsep.join(map(str, paths))
    print(machine())
    rows = []
    for check in CHECKS:
        needed = NEEDS.get(check.name, ())
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            rows.append((check.name, f"left out: no {', '.join(missing)}", 0.0))
        elif args.dry_run:
            print(f"{check.name}, at most {check.limit} s: PYTHONPATH=.:kernels {check.command}")
        else:
            outcome = run(check, {"PYTHONPATH": path})
            rows.append((check.name, outcome.result, outcome.seconds))
    print()
    for name, result, seconds in rows:
        print(f"{name:20}{result:40}{seconds:6.0f} s")
    sys.exit(not all(result == "passed" or result.startswith("left out") for _, result, _ in rows))


if __name__ == "__main__":
    main()
