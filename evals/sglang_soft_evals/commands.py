"""What each command of `sglang-soft eval` does. Each returns its exit status."""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

import orjson

from sglang_soft.server.markdown import table
from sglang_soft_evals import benchmarks, config, runfile
from sglang_soft_evals.rundir import read_info

Command = Callable[[argparse.Namespace], int]


def run(args: argparse.Namespace) -> int:
    from sglang_soft_evals import run

    settings = runfile.read(args.config, args.base_url)
    if args.model is not None:
        server = dataclasses.replace(settings.server, model=args.model)
        settings = dataclasses.replace(settings, server=server)
    names = ("questions", "samples", "seed", "concurrency", "data")
    changes = {name: value for name in names if (value := getattr(args, name)) is not None}
    if args.base_url is not None:
        model = "default" if settings.server.model == "bundled" else settings.server.model
        try:
            changes["server"] = config.Server(base_url=args.base_url, model=model)
        except ValueError as caught:
            raise ValueError(str(caught).replace("server.base_url", "--base-url")) from None
    settings = dataclasses.replace(settings, **changes)
    out = args.out or Path("results") / runfile.name_of(args.config)
    key = args.api_key or os.environ.get("OPENAI_API_KEY")
    result = run.execute(settings, out, retry_failed=args.retry_failed, api_key=key)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(result.statuses.items()))
    print(f"{out}: {'complete' if result.complete else 'partial'}; {counts or 'no records'}")
    if result.stopped:
        print(f"stopped: {result.stopped}; the same command resumes the run", file=sys.stderr)
    if result.statuses and not args.no_report:
        _report_to(out)
    for method, error in result.errors.items():
        print(f"error: {method} has no score ({error})", file=sys.stderr)
    if result.stopped == "interrupted":
        return 130
    return 0 if result.complete and not result.errors else 1


def report(args: argparse.Namespace) -> int:
    read_info(args.folder)  # before the slow imports of the report
    _report_to(args.folder, args.baseline)
    return 0


def _report_to(folder: Path, baseline: str | None = None) -> None:
    from sglang_soft_evals import report

    for path in report.write(folder, baseline):
        print(path)


def paper(args: argparse.Namespace) -> int:
    from sglang_soft_evals import paper

    if args.out is not None:
        print("\n".join(map(str, paper.write(args.out))))
    else:
        print(table(paper.table()) if args.name is None else paper.text(args.name).rstrip())
    return 0


def list_benchmarks(args: argparse.Namespace) -> int:
    print(table(benchmarks.table()))
    return 0


def questions(args: argparse.Namespace) -> int:
    from sglang_soft_evals import loading

    row = benchmarks.get(args.benchmark)
    for question in loading.load(row, args.data, args.count):
        prompt = benchmarks.render(row.prompt, question.question)
        line = {**question._asdict(), "messages": [{"role": "user", "content": prompt}]}
        print(orjson.dumps(line).decode())
    return 0


def check(args: argparse.Namespace) -> int:
    from sglang_soft_evals import check

    clean = True
    for path in args.data:
        row = benchmarks.get(args.benchmark) if args.benchmark else check.guess(path)
        text, nothing = check.report(path, row)
        print(text)
        clean &= nothing
    return 0 if clean else 1


def graders(args: argparse.Namespace) -> int:
    from sglang_soft_evals import agreement

    verdicts = agreement.judge()
    print(f"{len(verdicts)} variants\n\n{table(agreement.summary(verdicts))}\n")
    print("\n".join(agreement.errors(verdicts)))
    return 0


def export(args: argparse.Namespace) -> int:
    from sglang_soft_evals import export

    for exported in export.write(args.folder):
        print(f"{exported.method}: {exported.command}")
    return 0


def scores(args: argparse.Namespace) -> int:
    from sglang_soft_evals import export

    right, scored = export.read_scores(args.folder, args.method, args.scores, args.tests)
    print(f"{args.method}: {right} of {scored} right")
    return 0
