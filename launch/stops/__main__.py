"""Stop rules with several methods, against controls. (`make stops`)

    python -m launch.stops [--choose | --real] [--page-only] [arguments of `sglang-soft eval run`]

Runs evals/runs/stops.toml into results/stops, or goes on with it; the report is there. Then writes
the figures of docs/stops.md: docs/img/stops.json, its pictures, and the tables of the page.

--choose runs evals/runs/stops-choice.toml on 100 other questions instead, and prints which
parameters it chooses for each rule; stops.toml has them.

--real runs evals/runs/stops-real.toml: a few rules on a small pretrained model; needs --data.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from launch import ROOT, real_model
from launch.stops import choice, page

RESULTS, RUNS = ROOT / "results", ROOT / "evals" / "runs"


def run(file: Path, out: Path, more: Sequence[str]) -> None:
    """Raises SystemExit if the run is not complete."""
    command = [sys.executable, "-m", "sglang_soft_evals", "run", str(file), "--out", str(out)]
    done = subprocess.run([*command, *more], cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.returncode)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m launch.stops",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--choose", action="store_true", help="choose parameters")
    parser.add_argument("--real", action="store_true", help="a pretrained model")
    parser.add_argument("--page-only", action="store_true", help="from the run that is there")
    parser.add_argument("--out", type=Path, help="run directory; default: below results/")
    parser.add_argument("--img", type=Path, default=page.IMG, help="%(default)s")
    args, more = parser.parse_known_args(argv)
    name = "stops-choice" if args.choose else "stops-real" if args.real else "stops"
    out = args.out or RESULTS / name
    if not args.page_only:
        if args.choose:
            more += ["--data", str(choice.questions(out.with_suffix(".jsonl"))), "--no-report"]
        if args.real and "--model" not in more:
            more += ["--model", str(real_model.path())]
        run(RUNS / f"{name}.toml", out, more)
    try:
        if args.choose:
            print(choice.write(out, args.img))
        else:
            print("\n".join(map(str, page.write(out, args.img, name))))
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    if args.img == page.IMG:
        subprocess.run([sys.executable, "docs/tables.py"], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
