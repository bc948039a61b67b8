"""`sglang-soft verify`: is a trace what its model says? Step by step, by a reference."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from sglang_soft.client import Client
from sglang_soft.trace import Trace
from sglang_soft.verify.reference_hf import HuggingFace
from sglang_soft.verify.reference_server import ServerReference
from sglang_soft.verify.report import TOLERANCE
from sglang_soft.verify.steps import Reference, verify


def read(file: str | Path) -> Trace:
    """A trace from npz (`Trace.save`), or from JSON: the trace itself, or an answer that has one.

    Raises:
        ValueError: there is none in it.
        OSError: it cannot be read.
    """
    if Path(file).suffix == ".npz":
        return Trace.load(file)
    try:
        found = orjson.loads(Path(file).read_bytes())
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{file} is neither npz nor JSON: {error}") from error
    return trace_in(found, str(file))


def trace_in(found: Any, name: str) -> Trace:
    """The trace in an answer. name: what an error calls the answer. Raises ValueError."""
    for key in ("choices", "meta_info", "soft_thinking", "trace"):
        if isinstance(found, dict) and key in found:
            found = found[key]
        if isinstance(found, list) and found:
            found = found[0]
    if not isinstance(found, dict):
        raise ValueError(f"{name} holds no trace.")
    return Trace.from_json(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sglang-soft verify", description=__doc__,
        epilog="Exit status: 0 sound, 1 not, 2 the trace cannot be compared with this reference.",
    )  # fmt: skip
    add = parser.add_argument
    add("trace", nargs="?", help="npz or JSON; or --ask")
    add("--ask", metavar="QUESTION", help="ask --server first, and take the trace of its answer")
    add("--params", metavar="JSON", default="{}", help="with --ask: the object `soft_thinking`")
    add("--max-tokens", type=int, default=512, help="with --ask (%(default)s)")
    add("--save", metavar="FILE", help="write the trace as npz")
    add("--model", metavar="PATH", help="reference: folder of the Hugging Face model")
    add("--server", metavar="URL", help="reference where there is no --model: a running server")
    add("--api-key", metavar="KEY", help="of the server")
    add("--device", default="cpu", help="of --model (%(default)s)")
    add("--dtype", choices=TOLERANCE, help="of the reference; --model: float32 if not given; a "
        "server that has another one is refused")  # fmt: skip
    add("--expect-dtype", choices=TOLERANCE, help="refuse a trace that was made in another one")
    add("--tolerance", type=float, help="largest deviation (default: by the coarser dtype)")
    add("--json", action="store_true", help="print the figures as JSON")
    return parser


def _run(args: argparse.Namespace):
    """Raises ValueError, OSError."""
    if (args.trace is None) == (args.ask is None):
        raise ValueError("give either a trace or --ask.")
    if args.model is None and args.server is None:
        raise ValueError("give a reference: --model or --server.")
    if args.ask is not None and args.server is None:
        raise ValueError("--ask needs --server.")
    client = None if args.server is None else Client(args.server, args.api_key)
    if args.ask is None:
        trace = read(args.trace)
    else:
        assert client is not None
        try:
            params = orjson.loads(args.params)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"--params must be a JSON object; got {args.params!r}.") from error
        if not isinstance(params, dict):
            raise ValueError(f"--params must be a JSON object; got {args.params!r}.")
        soft = params | {"return_concepts": True}
        answer = client.ask(args.ask, soft=soft, max_tokens=args.max_tokens)
        assert answer.trace is not None, "it was asked for"
        trace = answer.trace
    if args.save:
        trace.save(args.save)
    made_in = trace.model.get("dtype")
    if args.expect_dtype not in (None, made_in):
        raise ValueError(f"the trace was made in {made_in}; expected {args.expect_dtype}.")
    reference: Reference
    if args.model is not None:
        dtype = args.dtype or "float32"
        reference = HuggingFace(args.model, device=args.device, dtype=dtype)
    else:
        assert client is not None
        reference = ServerReference(client, dtype=args.dtype)
    return verify(trace, reference, tolerance=args.tolerance)


def main(argv: Sequence[str]) -> None:
    """Ends with the exit status."""
    args = _parser().parse_args(argv)
    try:
        report = _run(args)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    print(orjson.dumps(report.to_json()).decode() if args.json else report)
    raise SystemExit(0 if report.sound else 1)
