"""`sglang-soft trace figure`: a thought as PNG and PDF."""

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from sglang_soft.view import figure, sources
from sglang_soft.view.reading import read


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sglang-soft trace figure",
        description="Draw a thought: steps across, candidates down, colour by weight. The token "
        "that a step emitted has a red frame; it stands above the column where it is not shown.",
    )
    add = parser.add_argument
    add("file", help="a trace as npz or JSON, or an answer as JSON")
    add(
        "--out", type=Path, action="append", metavar="FILE",
        help=".png or .pdf; may be given twice (default: name of FILE, with .png)",
    )  # fmt: skip
    add("--steps", metavar="A:B", help="steps A up to B, B left out (default: all)")
    add("--candidates", type=int, metavar="N", help="rows (default: those that carry weight)")
    add("--columns", type=int, default=20, metavar="N", help="steps in a band (%(default)s)")
    add("--title", default="", help="text above it")
    sources.add_arguments(parser)
    return parser


def _steps(text: str | None) -> slice:
    """Raises ValueError."""
    if text is None:
        return slice(None)
    parts = text.split(":")
    if len(parts) != 2 or not all(p == "" or p.isdecimal() for p in parts):
        raise ValueError(f"--steps must be A:B, such as 0:40; got {text!r}.")
    return slice(*(int(p) if p else None for p in parts))


def main(argv: Sequence[str]) -> None:
    """Ends with exit status 2 where nothing can be drawn."""
    args = _parser().parse_args(argv)
    try:
        if importlib.util.find_spec("matplotlib") is None:
            raise ValueError('it needs matplotlib: pip install "sglang-soft[evals]"')
        out = args.out or [Path(args.file).with_suffix(".png").name]
        out = [Path(file) for file in out]
        for file in out:
            if file.suffix.lower() not in figure.SUFFIXES:
                raise ValueError(f"--out must end in .png or .pdf; got {file}.")
        steps = _steps(args.steps)
        found = read(args.file)
        drawn = figure.cells(found.trace, steps, args.candidates)
        source = sources.chosen(args, [found.trace])
        texts = None if source is None else source.texts
        made = figure.draw(drawn, texts, args.columns, args.title)
        for file in out:
            figure.save(made, file)
            print(f"{file}: {len(drawn.ids)} steps of {drawn.ids.shape[1]} candidates")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    if source is None:
        print(sources.UNKNOWN, file=sys.stderr)
