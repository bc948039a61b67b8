"""`sglang-soft trace`: a thought as a page, or as a figure."""

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from sglang_soft.trace.check import check_model
from sglang_soft.view import data, sources
from sglang_soft.view.page import file_html
from sglang_soft.view.reading import Read, read

_ABOUT = """\
sglang-soft trace view FILE [FILE2]   one HTML file that shows the thought, or compares two
sglang-soft trace figure FILE         a picture of it (needs matplotlib)

FILE is a trace (npz or JSON), or a whole answer as JSON that has one (return_concepts).
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sglang-soft trace view",
        description="Write one HTML file that shows a thought, or compares two. It asks nobody.",
    )
    add = parser.add_argument
    add("file", help="a trace as npz or JSON, or an answer as JSON")
    add("other", nargs="?", metavar="FILE2", help="another one, shown next to it")
    add("--out", metavar="HTML", help="file to write (name of FILE, with .html)")
    add("--name", action="append", default=[], help="what a thought is called; once for each file")
    add("--question", help="what was asked (default: the prompt, if its text is known)")
    sources.add_arguments(parser)
    add("--no-trace", action="store_true", help="a smaller file, from which no trace can be saved")
    add("--open", action="store_true", help="open it in the browser")
    return parser


def page_of(
    found: Sequence[Read], source: sources.Source | None, names: Sequence[str] = (),
    question: str | None = None, whole: bool = True,
) -> str:  # fmt: skip
    """The HTML of one thought, or of two. source: None: ids are shown as numbers."""
    traces = []
    for i, one in enumerate(found):
        asked, answer = question, one.answer
        if source is not None:
            if asked is None:
                asked = source.decode(one.trace.prompt_ids.tolist()).strip()
            if answer is None:
                answer = source.decode(data.answer_ids(one.trace))
        name = names[i] if i < len(names) else one.name
        traces.append(
            data.of_trace(
                one.trace, name, question=asked, answer=answer, summary=one.summary, whole=whole
            )
        )
    tokens = data.tokens_of(one.trace for one in found)
    return file_html(data.page(traces, tokens, None if source is None else source.texts))


def view(argv: Sequence[str]) -> None:
    """Ends with exit status 2 where there is nothing to show."""
    args = _parser().parse_args(argv)
    try:
        files = [file for file in (args.file, args.other) if file is not None]
        if len(args.name) > len(files):
            raise ValueError(f"--name is given {len(args.name)} times, for {len(files)} file(s).")
        found = [read(file) for file in files]
        if len(found) == 2:
            check_model(found[1].trace, found[0].trace.model)
        source = sources.chosen(args, [one.trace for one in found])
        html = page_of(found, source, args.name, args.question, not args.no_trace)
        out = Path(args.out or f"{found[0].name}.html")
        out.write_text(html, encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    steps = " and ".join(str(len(one.trace.steps)) for one in found)
    print(f"{out}: {steps} steps, {len(html.encode()) / 1e6:.1f} MB")
    if source is None:
        print(sources.UNKNOWN, file=sys.stderr)
    if args.open:
        webbrowser.open(out.resolve().as_uri())


def main(argv: Sequence[str]) -> None:
    if argv[:1] == ["view"]:
        return view(argv[1:])
    if argv[:1] == ["figure"]:
        from sglang_soft.view import figure_command

        return figure_command.main(argv[1:])
    print(_ABOUT, end="")
    if argv[:1] not in (["-h"], ["--help"]):
        raise SystemExit(2)
