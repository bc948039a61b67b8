"""`python -m sglang_soft.launch_server`: SGLang's server with Soft Thinking.

Every SGLang flag works unchanged; flags of our own start with `--soft-`. Without --model-path it
serves the bundled model.
"""

import argparse
import os
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

from sglang_soft.server import settings

BUNDLED_MODEL = Path(__file__).parent / "bundled"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sglang_soft.launch_server", add_help=False, allow_abbrev=False
    )
    group = parser.add_argument_group("Soft Thinking")
    for s in settings.SETTINGS:
        default = "" if s.default is None else f" (default: {s.default})"
        optional: dict[str, Any] = {} if s.bare is None else {"nargs": "?", "const": s.bare}
        group.add_argument(
            s.flag, dest=s.name, metavar=s.metavar, help=s.help + default, **optional
        )
    return parser


def parse(argv: Sequence[str], env: MutableMapping[str, str]) -> list[str]:
    """Put our flags into `env`, where the settings are read from. Returns SGLang's arguments.

    Raises:
        ValueError: an unknown `--soft-*` flag, or a bad value of one or of its variable.
    """
    own, rest = build_parser().parse_known_args(argv)
    unknown = [arg for arg in rest if arg.startswith("--soft-")]
    if unknown:
        known = ", ".join(s.flag for s in settings.SETTINGS)
        raise ValueError(f"unknown flag {unknown[0]}; Soft Thinking has {known}.")
    for s in settings.SETTINGS:
        if (text := getattr(own, s.name)) is not None:
            env[s.variable] = text
    env[settings.REQUIRED] = "1"
    settings.from_env(env)
    if not any(arg.split("=")[0] in ("--model-path", "--model", "--config") for arg in rest):
        rest = ["--model-path", str(BUNDLED_MODEL), "--reasoning-parser", "deepseek-r1", *rest]
    return rest


def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(argv):
        build_parser().print_help()
        print("\nEvery flag of SGLang's server works as well:\n")
        argv = ["--help"]
    try:
        rest = parse(argv, os.environ)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error

    from sglang.srt.plugins import load_plugins

    load_plugins()
    from sglang.launch_server import run_server
    from sglang.srt.arg_groups.model_override_base import resolving_view
    from sglang.srt.server_args import prepare_server_args
    from sglang.srt.utils import kill_process_tree

    from sglang_soft.server.limits import unsupported_server

    server_args = prepare_server_args(rest)
    server_args.resolve_once()
    if reason := unsupported_server(resolving_view(server_args)):
        raise SystemExit(f"error: {reason}")
    try:
        run_server(server_args)
    finally:
        kill_process_tree(os.getpid(), include_parent=False)


if __name__ == "__main__":
    main()
