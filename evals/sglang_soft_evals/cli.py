"""`sglang-soft eval`: compare methods of thinking on a benchmark, with everything else held equal.

sglang-soft eval run CONFIG      ask, or go on where an earlier call was stopped; then report
sglang-soft eval report DIR      write the report of a run directory
sglang-soft eval check DATA ...  does the grader agree with every gold answer of a data file, and with no perturbed one
sglang-soft eval graders         math-verify and sgl-eval on generated answer variants
sglang-soft eval list            the benchmarks
sglang-soft eval export DIR      samples of a code benchmark, for the runner that scores them
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from sglang_soft_evals import benchmarks, config


def _run(args: argparse.Namespace) -> int:
    from sglang_soft_evals import run

    settings = config.read(args.config)
    changes = {name: getattr(args, name) for name in ("questions", "samples", "seed", "concurrency", "data")}
    changes = {name: value for name, value in changes.items() if value is not None}
    if args.base_url is not None:
        model = "default" if settings.server.model == "bundled" else settings.server.model
        changes["server"] = config.Server(base_url=args.base_url, model=model)
    settings = dataclasses.replace(settings, **changes)
    out = args.out or Path("runs") / args.config.stem
    result = run.execute(settings, out, retry_failed=args.retry_failed)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(result.statuses.items()))
    print(f"{out}: {'complete' if result.complete else 'partial'}; {counts or 'no records'}")
    if result.stopped:
        print(f"stopped: {result.stopped}; the same command goes on from here", file=sys.stderr)
    if result.statuses and not args.no_report:
        _report_to(out)
    return 130 if result.stopped == "interrupted" else 0 if result.complete else 1


def _report_to(folder: Path) -> None:
    from sglang_soft_evals import report

    for path in report.write(folder):
        print(path)


def _report(args: argparse.Namespace) -> int:
    if not (args.folder / "run.json").is_file():
        raise ValueError(f"{args.folder} has no run.json; it is not the directory of a run.")
    _report_to(args.folder)
    return 0


def _list(args: argparse.Namespace) -> int:
    from sglang_soft.cli import markdown

    print(markdown(benchmarks.table()))
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sglang-soft eval", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="ask, or go on where an earlier call was stopped; then report")
    run.add_argument("config", type=Path, help="the run file (TOML)")
    run.add_argument("--out", type=Path, help="run directory (default: runs/NAME-OF-CONFIG)")
    run.add_argument("--base-url", help="a running server, instead of what the run file says")
    run.add_argument("--data", help="local file of questions")
    for name in ("questions", "samples", "seed", "concurrency"):
        run.add_argument(f"--{name}", type=int, help="instead of the run file's")
    run.add_argument("--retry-failed", action="store_true", help="ask failed samples again")
    run.add_argument("--no-report", action="store_true")
    run.set_defaults(do=_run)
    report = commands.add_parser("report", help="write the report of a run directory")
    report.add_argument("folder", type=Path)
    report.set_defaults(do=_report)
    commands.add_parser("list", help="the benchmarks").set_defaults(do=_list)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    try:
        raise SystemExit(args.do(args))
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
