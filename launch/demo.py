"""`make run`: serve a model with Soft Thinking, ask one question, print the answer, leave the
server up.

    python -m launch.demo [--port N] [--once] [--demo-model smollm2] [any flag of the server]

The model is the bundled toy, or with `make run MODEL=smollm2` the pretrained one of
`launch/real_model.py`.

Ctrl-C ends the server.
"""

import argparse
from collections.abc import Sequence

import requests

from launch import real_model
from sglang_soft.server.process import Server

QUESTION = "What is 43*34?"
SOFT_THINKING = {
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
CUT = {"cold_stop": "   [cut here by Cold Stop]", "max_thinking_tokens": "   [cut at its bound]"}


def key_of(args: Sequence[str]) -> str | None:
    """The --api-key among the server's arguments; the last one counts, as for the server."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--api-key")
    return parser.parse_known_args(args)[0].api_key


def ask(url: str, question: str, api_key: str | None = None, model: str = "bundled") -> dict:
    """One chat completion with the model's settings for Soft Thinking."""
    body = {
        "model": "default",
        "messages": [{"role": "user", "content": question}],
        "temperature": 0.6,
        "max_tokens": 256,
        "custom_params": {"soft_thinking": SOFT_THINKING[model]},
        "return_meta_info": True,
    }
    with requests.Session() as session:
        session.trust_env = False  # http_proxy is not meant for the loopback interface
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        response = session.post(
            f"{url}/v1/chat/completions", json=body, headers=headers, timeout=120
        )
    response.raise_for_status()
    return response.json()


def text(question: str, completion: dict) -> str:
    """What the demo prints of an answer."""
    choice = completion["choices"][0]
    message, soft = choice["message"], choice["meta_info"]["soft_thinking"]
    reason, thought = soft["thinking_finish_reason"], message.get("reasoning_content")
    if thought is None:  # without a reasoning parser the text is one
        parts = f"Thought, answer  {message['content']}\n"
    else:
        parts = (
            f"Thinking         {thought}{CUT.get(reason, '')}\n"
            f"Answer           {message['content']}\n"
        )
    return (
        f"Question         {question}\n{parts}"
        f"Thinking tokens  {soft['thinking_tokens']}, ended by {reason}, "
        f"mean entropy {soft['mean_entropy']:.3f} nats"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=30000)
    parser.add_argument("--once", action="store_true", help="end the server after the answer")
    parser.add_argument("--demo-model", choices=[*SOFT_THINKING], default="bundled")
    own, rest = parser.parse_known_args()
    try:
        if own.demo_model == "smollm2":
            rest += ["--model-path", str(real_model.path())]
            rest += ["--soft-think-end", real_model.THINK_END]
        server = Server(["--log-level", "warning", *rest], port=own.port)
        print(f"Starting SGLang with the model {own.demo_model} on {server.url} ...", flush=True)
        with server:
            print("\n" + text(QUESTION, ask(server.url, QUESTION, key_of(rest), own.demo_model)))
            if not own.once:
                print(f"\nThe server is up on {server.url} (Ctrl-C ends it).", flush=True)
                server.wait()
    except KeyboardInterrupt:
        pass
    except (RuntimeError, ValueError, requests.RequestException) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
