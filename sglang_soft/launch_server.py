"""`python -m sglang_soft.launch_server`: SGLang's server, with every SGLang flag unchanged, and
Soft Thinking on.

Flags of our own start with `--soft-`. Without --model-path it serves the bundled model.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from sglang_soft import config
from sglang_soft.config import SoftConfig

BUNDLED_MODEL = Path(__file__).parent / "bundled"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sglang_soft.launch_server", add_help=False, allow_abbrev=False
    )
    group = parser.add_argument_group("Soft Thinking")
    group.add_argument(
        "--soft-default",
        metavar="JSON",
        help="parameters of requests that say nothing of Soft Thinking: true, or a JSON object of the keys that "
        "`sglang-soft params` lists; without it such requests are decoded plainly",
    )
    group.add_argument(
        "--soft-method", metavar="NAME", help="shorthand for the key `method` of --soft-default"
    )
    group.add_argument(
        "--soft-max-k",
        metavar="K",
        default=str(SoftConfig().max_k),
        help="largest max_topk that a request may ask for (default: %(default)s)",
    )
    group.add_argument(
        "--soft-think-start",
        metavar="TOKEN",
        help="think-start token, as text or id (default: the reasoning parser's, else <think>)",
    )
    group.add_argument(
        "--soft-think-end",
        metavar="TOKEN",
        help="think-end token, as text or id (default: the reasoning parser's, else </think>)",
    )
    group.add_argument(
        "--soft-max-vector-mb",
        metavar="MIB",
        default=str(SoftConfig().max_vector_mb),
        help="host memory that one request of a method that feeds vectors may take (default: %(default)s)",
    )
    group.add_argument(
        "--soft-methods",
        metavar="MODULES",
        help="modules that register thinking methods of your own, comma-separated",
    )
    return parser


def parse(argv: Sequence[str]) -> tuple[SoftConfig, list[str]]:
    """Split a command line into our settings and SGLang's arguments. Raises ValueError for a bad
    `--soft-*` value."""
    own, rest = build_parser().parse_known_args(argv)
    unknown = [arg for arg in rest if arg.startswith("--soft-")]
    if unknown:
        raise ValueError(
            f"unknown flag {unknown[0]}; Soft Thinking has --soft-default, --soft-method, --soft-max-k, "
            "--soft-think-start, --soft-think-end, --soft-max-vector-mb and --soft-methods."
        )
    max_k = config.parse_max_k(own.soft_max_k)
    if own.soft_methods is not None:  # read where methods are looked up, from here on
        os.environ["SGLANG_SOFT_METHODS"] = own.soft_methods
    default = own.soft_default
    if own.soft_method is not None:
        given = orjson.loads(default) if default not in (None, "true") else {}
        default = orjson.dumps({**given, "method": own.soft_method}).decode()
    soft = SoftConfig(
        max_k=max_k,
        default=None if default is None else config.parse_default(default, max_k),
        think_start=own.soft_think_start,
        think_end=own.soft_think_end,
        max_vector_mb=config.parse_max_vector_mb(own.soft_max_vector_mb),
        methods=own.soft_methods,
        required=True,
    )
    if not any(arg.split("=")[0] in ("--model-path", "--model", "--config") for arg in rest):
        rest = ["--model-path", str(BUNDLED_MODEL), "--reasoning-parser", "deepseek-r1", *rest]
    return soft, rest


def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(argv):
        build_parser().print_help()
        print("\nEvery flag of SGLang's server works as well:\n")
        argv = ["--help"]
    try:
        soft, rest = parse(argv)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
    os.environ.update(config.to_env(soft))

    from sglang.srt.plugins import load_plugins

    load_plugins()
    from sglang.launch_server import run_server
    from sglang.srt.server_args import prepare_server_args
    from sglang.srt.utils import kill_process_tree

    try:
        run_server(prepare_server_args(rest))
    finally:
        kill_process_tree(os.getpid(), include_parent=False)


if __name__ == "__main__":
    main()
