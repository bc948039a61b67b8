"""`sglang-soft eval`: compare methods of thinking on a benchmark, with everything else held equal.

sglang-soft eval run CONFIG      ask, or go on where an earlier call was stopped; then report
sglang-soft eval report DIR      write the report of a run directory sglang-soft eval check DATA ...
does the grader agree with every gold answer of a data file, and with no perturbed one sglang-soft
eval graders         math-verify and sgl-eval on generated answer variants sglang-soft eval list
the benchmarks sglang-soft eval questions NAME  questions of a benchmark as JSONL, for other clients
sglang-soft eval export DIR      samples of a code benchmark, for the runner that scores them
sglang-soft eval scores DIR ...  put that runner's scores into the run directory sglang-soft eval
paper DIR       write the run files of the paper's tables
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from sglang_soft_evals import benchmarks, config, runfile


def _run(args: argparse.Namespace) -> int:
    from sglang_soft_evals import run

    settings = runfile.read(args.config, args.base_url)
    changes = {
        name: getattr(args, name)
        for name in ("questions", "samples", "seed", "concurrency", "data")
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if args.base_url is not None:
        model = "default" if settings.server.model == "bundled" else settings.server.model
        changes["server"] = config.Server(base_url=args.base_url, model=model)
    settings = dataclasses.replace(settings, **changes)
    out = args.out or Path("results") / args.config.stem
    result = run.execute(settings, out, retry_failed=args.retry_failed)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(result.statuses.items()))
    print(f"{out}: {'complete' if result.complete else 'partial'}; {counts or 'no records'}")
    if result.stopped:
        print(f"stopped: {result.stopped}; the same command goes on from here", file=sys.stderr)
    if result.statuses and not args.no_report:
        _report_to(out)
    return 130 if result.stopped == "interrupted" else 0 if result.complete else 1


def _report_to(folder: Path, baseline: str | None = None) -> None:
    from sglang_soft_evals import report

    for path in report.write(folder, baseline):
        print(path)


def _report(args: argparse.Namespace) -> int:
    if not (args.folder / "run.json").is_file():
        raise ValueError(f"{args.folder} has no run.json; it is not the directory of a run.")
    _report_to(args.folder, args.baseline)
    return 0


def _list(args: argparse.Namespace) -> int:
    from sglang_soft.cli import markdown

    print(markdown(benchmarks.table()))
    return 0


def _check(args: argparse.Namespace) -> int:
    from sglang_soft_evals import check

    clean = True
    for path in args.data:
        text, nothing = check.report(
            path, benchmarks.get(args.benchmark) if args.benchmark else check.guess(path)
        )
        print(text)
        clean &= nothing
    return 0 if clean else 1


def _graders(args: argparse.Namespace) -> int:
    from sglang_soft.cli import markdown
    from sglang_soft_evals import agreement

    verdicts = agreement.judge()
    print(f"{len(verdicts)} variants\n\n{markdown(agreement.summary(verdicts))}\n")
    print("\n".join(agreement.errors(verdicts)))
    return 0


def _questions(args: argparse.Namespace) -> int:
    import orjson

    from sglang_soft_evals import loading

    row = benchmarks.get(args.benchmark)
    for question in loading.load(row, args.data, args.count):
        prompt = benchmarks.render(row.prompt, question.question)
        line = {**question._asdict(), "messages": [{"role": "user", "content": prompt}]}
        print(orjson.dumps(line).decode())
    return 0


def _export(args: argparse.Namespace) -> int:
    from sglang_soft_evals import export

    for exported in export.write(args.folder):
        print(f"{exported.method}: {exported.command}")
    return 0


def _scores(args: argparse.Namespace) -> int:
    from sglang_soft_evals import export

    right, scored = export.read_scores(args.folder, args.method, args.scores, args.tests)
    print(f"{args.method}: {right} of {scored} right")
    return 0


def _paper(args: argparse.Namespace) -> int:
    from sglang_soft_evals import paper

    for path in paper.write(args.folder):
        print(path)
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sglang-soft eval",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run", help="ask, or go on where an earlier call was stopped; then report"
    )
    run.add_argument("config", type=Path, help="the run file (TOML or YAML)")
    run.add_argument("--out", type=Path, help="run directory (default: results/NAME-OF-CONFIG)")
    run.add_argument("--base-url", help="a running server, instead of what the run file says")
    run.add_argument("--data", help="local file of questions")
    for name in ("questions", "samples", "seed", "concurrency"):
        run.add_argument(f"--{name}", type=int, help="instead of the run file's")
    run.add_argument("--retry-failed", action="store_true", help="ask failed samples again")
    run.add_argument("--no-report", action="store_true")
    run.set_defaults(do=_run)
    report = commands.add_parser("report", help="write the report of a run directory")
    report.add_argument("folder", type=Path)
    report.add_argument(
        "--baseline", metavar="METHOD", help="compare with this method (default: the run's first)"
    )
    report.set_defaults(do=_report)
    questions = commands.add_parser(
        "questions", help="questions of a benchmark as JSONL, for other clients"
    )
    questions.add_argument("benchmark")
    questions.add_argument("--data", type=Path, help="local file of questions")
    questions.add_argument("--count", type=int, help="only the first so many")
    questions.set_defaults(do=_questions)
    check = commands.add_parser(
        "check", help="does the grader agree with the gold answers of data files"
    )
    check.add_argument("data", type=Path, nargs="+")
    check.add_argument(
        "--benchmark", help="whose grader to use (default: the one that the file is named after)"
    )
    check.set_defaults(do=_check)
    commands.add_parser(
        "graders", help="math-verify and sgl-eval on generated variants"
    ).set_defaults(do=_graders)
    export = commands.add_parser(
        "export", help="samples of a code benchmark, for the runner that scores them"
    )
    export.add_argument("folder", type=Path)
    export.set_defaults(do=_export)
    scores = commands.add_parser(
        "scores", help="put a code runner's scores of one method into the run directory"
    )
    scores.add_argument("folder", type=Path)
    scores.add_argument("method")
    scores.add_argument("scores", type=Path, help="the runner's result file")
    scores.add_argument(
        "--tests", choices=("base", "plus"), default="base", help="of evalplus (default: base)"
    )
    scores.set_defaults(do=_scores)
    paper = commands.add_parser("paper", help="write the run files of the paper's tables")
    paper.add_argument("folder", type=Path)
    paper.set_defaults(do=_paper)
    commands.add_parser("list", help="the benchmarks").set_defaults(do=_list)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    try:
        raise SystemExit(args.do(args))
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
