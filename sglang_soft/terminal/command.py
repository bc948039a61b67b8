"""`sglang-soft ask "What is 43*34?"`: ask a running server, and see the thought as it comes.

The text of a thought is coloured by the weight of its first candidate; bars show the entropy.
Exit status: 0; 1: the server refused, or the file cannot be written; 2: there is no server, or no
answer; 3: wrong arguments; 130: Ctrl-C.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import orjson
from rich.console import Console

from sglang_soft.client import Client, NoAnswer, ServerError
from sglang_soft.terminal import report
from sglang_soft.terminal.asking import Asked
from sglang_soft.terminal.screen import Screen
from sglang_soft.view.visible import visible

REFUSED, NO_ANSWER, ARGUMENTS, STOPPED = 1, 2, 3, 130


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(ARGUMENTS, f"error: {message}\n")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sglang-soft ask", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    add = parser.add_argument
    add("question", help="the question; -: read it from the standard input")
    add("--url", default="http://127.0.0.1:30000", help="the server (default: %(default)s)")
    add("--api-key", help="key of a server that needs one (default: $OPENAI_API_KEY)")
    add("--method", help="the thinking method; `sglang-soft methods` lists them")
    add(
        "-p", dest="parameters", action="append", default=[], metavar="KEY=VALUE",
        help="a parameter of Soft Thinking, checked by the server; VALUE is JSON, else text",
    )  # fmt: skip
    add("--params", metavar="JSON", help="an object of such parameters; -p wins")
    add("--temperature", type=float, default=0.6, help="(default: %(default)s)")
    add("--top-p", type=float, default=0.95, help="(default: %(default)s)")
    add("--max-tokens", type=int, metavar="N", help="thought and answer (default: the context)")
    add("--keep", action="store_true", help="the server keeps the trace; prints its handle")
    add("--save", type=Path, metavar="FILE.npz", help="write the trace to a file")
    add("--json", action="store_true", help="print one JSON object, and nothing else")
    return parser


def soft(args: argparse.Namespace) -> dict[str, Any]:
    """The object `soft_thinking`. Raises ValueError."""
    found: Any = {}
    if args.params is not None:
        try:
            found = orjson.loads(args.params)
        except orjson.JSONDecodeError as error:
            raise ValueError(
                f"--params must be a JSON object ({error}); got {args.params!r}."
            ) from None
        if not isinstance(found, dict):
            raise ValueError(f"--params must be a JSON object; got {args.params!r}.")
    for given in args.parameters:
        key, equals, value = given.partition("=")
        if not equals or not key:
            raise ValueError(f"-p must be KEY=VALUE; got {given!r}.")
        try:
            found[key] = orjson.loads(value)
        except orjson.JSONDecodeError:
            found[key] = value
    if args.method is not None:
        if found.get("method", args.method) != args.method:
            raise ValueError(f"two methods: --method {args.method} and {found['method']!r}.")
        found["method"] = args.method
    if found.get("return_concepts", True) is not True:
        raise ValueError("return_concepts must be true: the concept tokens are what is shown.")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    args = build_parser().parse_args(argv)
    try:
        return ask(args)
    except ServerError as error:
        return _failed(REFUSED, str(error))
    except NoAnswer as error:
        return _failed(NO_ANSWER, f"no answer from {error}")
    except BrokenPipeError:  # `sglang-soft` ends any command so
        raise
    except OSError as error:
        return _failed(REFUSED, str(error))
    except ValueError as error:
        return _failed(ARGUMENTS, str(error))
    except KeyboardInterrupt:
        return _failed(STOPPED, "stopped")


def _failed(status: int, message: str) -> int:
    """On one line: the text may be a server's, or what a model wrote."""
    print(f"error: {visible(message)}", file=sys.stderr)
    return status


def ask(args: argparse.Namespace) -> int:
    question = sys.stdin.read().strip() if args.question == "-" else args.question
    if not question:
        raise ValueError("the question is empty.")
    if args.max_tokens is not None and args.max_tokens < 1:
        raise ValueError(f"--max-tokens must be >= 1; got {args.max_tokens}.")
    if args.save is not None and args.save.suffix != ".npz":
        raise ValueError(f"--save must be a name that ends in .npz; got {args.save}.")
    if args.save is not None and not args.save.parent.is_dir():
        raise ValueError(f"--save {args.save}: there is no folder {args.save.parent}.")
    options = {"soft": soft(args), "keep": args.keep}
    options |= {"temperature": args.temperature, "top_p": args.top_p}
    if args.max_tokens is not None:
        options["max_tokens"] = args.max_tokens
    key = args.api_key or os.environ.get("OPENAI_API_KEY")
    _survive_the_encoding()
    console = Console(highlight=False, quiet=args.json)
    with Client(args.url, api_key=key) as client:
        begun = time.perf_counter()
        asked = Asked(client, question, options)
        with Screen(console) as screen:
            for span in asked.spans():
                screen.show(span)
        seconds = time.perf_counter() - begun
        answer = asked.answer
        assert answer is not None and answer.trace is not None
        if args.save is not None:
            with args.save.open("wb") as file:
                answer.trace.save(file)
        saved = None if args.save is None else str(args.save)
        if args.json:
            found = report.to_json(question, answer, answer.trace, asked.texts, seconds, saved)
            sys.stdout.write(orjson.dumps(found).decode() + "\n")
        else:
            report.print_whole(console, answer, answer.trace, seconds, saved)
    sys.stdout.flush()
    return 0


def _survive_the_encoding() -> None:
    """A terminal that has no Unicode shows escapes in place of what it lacks."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
