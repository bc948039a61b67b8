"""`make run`: serve a model with Soft Thinking, ask one question, print the answer and the address
of the page that shows thoughts, leave the server up.

    python -m launch.demo [--port N] [--once] [--demo-model smollm2] [any flag of the server]

The model is the bundled toy, or with `make run MODEL=smollm2` the pretrained one of
`launch/real_model.py`. What the engine and the libraries have to say is in results/, which git
ignores: it is there after the terminal is closed, unlike a temporary file.

Ctrl-C ends the server.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launch import ROOT, starting

if TYPE_CHECKING:
    from sglang_soft.client import Answer

QUESTION = "What is 43*34?"
SOFT_THINKING: dict[str, dict[str, Any]] = {
    # The model card's.
    "bundled": {"answer_temperature": 0.0, "cold_stop_entropy": 0.2, "cold_stop_steps": 12},
    # An instruct model without think tokens: see launch/real_model.py.
    "smollm2": {
        "thinking_start": "now",
        "max_thinking_tokens": 96,
        "top_p": 0.95,
        "top_k": 30,
        "answer_temperature": 0.0,
    },
}
"""By model."""
CUT = {"cold_stop": " [cut here by Cold Stop]", "max_thinking_tokens": " [cut at its bound]"}
MOST = 300
"""Characters of a thought or an answer that are printed: with them, all of it is 15 lines."""


def key_of(args: Sequence[str]) -> str | None:
    """The --api-key among the server's arguments; the last one counts, as for the server."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--api-key")
    return parser.parse_known_args(args)[0].api_key


def has_page(args: Sequence[str]) -> bool:
    """Whether the server's arguments leave the page on."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--soft-view", nargs="?", default="loopback", const="loopback")
    return parser.parse_known_args(args)[0].soft_view != "off"


def log_of(port: int) -> Path:
    return ROOT / "results" / f"make-run-{port}.log"


def ask(url: str, question: str, api_key: str | None, model: str) -> "Answer":
    """One chat completion with the model's settings for Soft Thinking."""
    from sglang_soft.client import Client

    with Client(url, api_key, timeout=120) as client:
        return client.ask(
            question, temperature=0.6, max_tokens=256, soft=SOFT_THINKING[model], concepts=False
        )


def text(question: str, answer: "Answer") -> str:
    """What the demo prints of an answer: four paragraphs."""
    soft = answer.summary
    assert soft is not None
    reason = soft.thinking_finish_reason
    rows = [("Question", question)]
    if answer.thinking is None:  # without a reasoning parser the text is one
        rows += [("Thought, answer", _short(answer.text))]
    else:
        rows += [("Thinking", _short(answer.thinking) + CUT.get(reason or "", ""))]
        rows += [("Answer", _short(answer.text))]
    entropy = f"mean entropy {soft.mean_entropy or 0:.3f} nats"
    rows += [("Thinking tokens", f"{soft.thinking_tokens}, ended by {reason}, {entropy}")]
    return "\n".join(f"{name:<17}{value}" for name, value in rows)


def _short(said: str) -> str:
    from sglang_soft.view.visible import visible

    shown = visible(said.strip("\n"))
    return shown if len(shown) <= MOST else shown[:MOST] + " ..."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=30000)
    parser.add_argument("--once", action="store_true", help="end the server after the answer")
    parser.add_argument("--demo-model", choices=[*SOFT_THINKING], default="bundled")
    own, rest = parser.parse_known_args()
    try:
        run(own, rest)
    except KeyboardInterrupt:
        pass
    except (RuntimeError, ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error


def run(own: argparse.Namespace, rest: list[str]) -> None:
    """Raises RuntimeError: the server does not start; with the end of its log."""
    from sglang_soft.server.process import Server, check_port

    check_port(own.port)
    log = log_of(own.port)
    log.parent.mkdir(exist_ok=True)
    log.write_text("")
    starting.warnings_into(log)
    from rich.console import Console

    if own.demo_model == "smollm2":
        from launch import real_model

        rest = [*rest, "--model-path", str(real_model.path())]
        rest += ["--soft-think-end", real_model.THINK_END]
    server = Server(["--soft-view", *rest], port=own.port, log=log)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Starting SGLang with the model {own.demo_model} on {server.url}")
    console.print(f"Log              {_named(log)}")
    with starting.shown(console, log):
        server.start()
    try:
        answer = ask(server.url, QUESTION, key_of(rest), own.demo_model)
        console.print(text(QUESTION, answer), markup=False)
        if not own.once:
            if has_page(rest):
                console.print(f"See it think     {server.url}/soft_thinking/view")
            console.print("The server is up; Ctrl-C ends it.")
            sys.stdout.flush()
            server.wait()
    finally:
        server.stop()


def _named(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


if __name__ == "__main__":
    main()
