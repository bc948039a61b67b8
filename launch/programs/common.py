"""What the programs of this folder share: their arguments, and how they ask."""

import argparse
import re
from collections.abc import Mapping
from typing import Any

from sglang_soft import lang

QUESTION = "What is 43*34?"
OPEN = "<think>\n"
"""Opens a thought, as the bundled model's chat template does."""
SAMPLING = {"top_p": 0.95, "top_k": 30, "answer_temperature": 0.0}
"""A program's own defaults are SGLang's: no top_p and no top_k, so that every step mixes as many
tokens as it may."""
COLD_STOP = {"cold_stop_entropy": 0.2, "cold_stop_steps": 12}
"""The bundled model's."""


def arguments(about: str | None, argv: list[str] | None, **others: float) -> argparse.Namespace:
    """others: further numbers with their defaults, such as n=5 for --n; whole ones stay whole."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:30000", help="of the server")
    parser.add_argument("--api-key")
    parser.add_argument(
        "--chat-template", default="chatml", help="name in SGLang's frontend language"
    )
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--seed", type=int, default=1, help="of the noise; the next ones follow")
    for name, default in others.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser.parse_args(argv)


def backend(args: argparse.Namespace) -> lang.RuntimeEndpoint:
    return lang.RuntimeEndpoint(
        args.url, api_key=args.api_key, chat_template_name=args.chat_template
    )


def answer_of(text: str) -> str:
    """The last number in a text; without one, the text."""
    return (re.findall(r"-?\d+", text) or [text.strip()])[-1]


def check(state: Any) -> Any:
    """SGLang keeps the error of a program, and only warns; raise it."""
    if (error := state.error()) is not None:
        raise SystemExit(f"error: {error}")
    return state


def summary(state: Any, name: str) -> Mapping[str, Any]:
    """`meta_info.soft_thinking` of the variable `name`."""
    return state.get_meta_info(name)["soft_thinking"]
