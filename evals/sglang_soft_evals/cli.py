"""`sglang-soft eval`: compare thinking methods on a benchmark, with everything else equal."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from sglang_soft_evals import commands

Add = Callable[..., argparse.ArgumentParser]


def _run(add: Add) -> None:
    parser = add("run", "ask every sample, or resume; then report", commands.run)
    parser.add_argument("config", help="the run file (TOML or YAML), or paper:NAME")
    parser.add_argument("--out", type=Path, help="run directory (default: results/NAME-OF-CONFIG)")
    parser.add_argument("--base-url", help="a running server, instead of the run file's")
    parser.add_argument(
        "--api-key", help="key of a server that needs one (default: $OPENAI_API_KEY)"
    )
    parser.add_argument("--model", help="model to start, instead of the run file's")
    parser.add_argument("--data", help="local file of questions")
    for name in ("questions", "samples", "seed", "concurrency"):
        parser.add_argument(f"--{name}", type=int, help="instead of the run file's")
    parser.add_argument("--retry-failed", action="store_true", help="ask failed samples again")
    parser.add_argument("--no-report", action="store_true")


def _report(add: Add) -> None:
    parser = add("report", "write the report of a run directory", commands.report)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--baseline", metavar="METHOD", help="compare with this method (default: the run's first)"
    )


def _paper(add: Add) -> None:
    parser = add("paper", "the runs of the paper's tables: list, print or write", commands.paper)
    parser.add_argument("name", nargs="?", help="print this run file (default: list all)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write all run files below DIR")


def _benchmarks(add: Add) -> None:
    add("list", "the benchmarks", commands.list_benchmarks)
    parser = add(
        "questions", "questions of a benchmark as JSONL, for other clients", commands.questions
    )
    parser.add_argument("benchmark")
    parser.add_argument("--data", type=Path, help="local file of questions")
    parser.add_argument("--count", type=int, help="only the first so many")


def _graders(add: Add) -> None:
    parser = add("check", "grade the gold answers of data files, and wrong ones", commands.check)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument(
        "--benchmark", help="whose grader to use (default: the one that the file is named after)"
    )
    add("graders", "math-verify and sgl-eval on generated answer variants", commands.graders)


def _code(add: Add) -> None:
    parser = add(
        "export", "samples of a code benchmark, for the program that scores them", commands.export
    )
    parser.add_argument("folder", type=Path)
    parser = add(
        "scores", "read that program's scores of one method into the run directory", commands.scores
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("method")
    parser.add_argument("scores", type=Path, help="the program's result file")
    parser.add_argument(
        "--tests", choices=("base", "plus"), default="base", help="of evalplus (default: base)"
    )


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sglang-soft eval", description=__doc__)
    found = parser.add_subparsers(dest="command", required=True)

    def add(name: str, text: str, command: commands.Command) -> argparse.ArgumentParser:
        added = found.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        added.set_defaults(do=command)
        return added

    for group in (_run, _report, _paper, _benchmarks, _graders, _code):
        group(add)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Ends with the exit status of the command; a user's error is one line on standard error."""
    args = build_parser().parse_args(argv)
    try:
        raise SystemExit(args.do(args))
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
