"""`make run`: serve the bundled model with Soft Thinking, ask one question, print the answer, leave
the server up.

Arguments go to `python -m sglang_soft.launch_server`; Ctrl-C ends the server.
"""

import argparse
import socket
import subprocess
import sys
import time

import requests

QUESTION = "What is 43*34?"
SOFT_THINKING = {
    "answer_temperature": 0.0,
    "cold_stop_entropy": 0.2,
    "cold_stop_steps": 12,
}  # the model card's
START_TIMEOUT = 600  # seconds; a cold import of SGLang on two cores takes most of a minute


def wait_until_healthy(base: str, server: subprocess.Popen) -> None:
    """Raises SystemExit if the server ends or does not answer in time."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(
                f"the server ended with exit status {server.returncode}; its log is above"
            )
        try:
            if requests.get(f"{base}/health", timeout=5).ok:
                return
        except requests.RequestException:  # not up yet, or too busy to answer in time
            pass
        time.sleep(1)
    raise SystemExit(f"the server did not answer on {base} within {START_TIMEOUT} s")


def check_port(port: int) -> None:
    """Raises SystemExit if somebody listens there: the demo would talk to them and not to its own
    server."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SystemExit(
                f"port {port} is not free ({error.strerror}); end what listens there, or make run ARGS='--port 30077'"
            ) from error


def ask(base: str, question: str) -> dict:
    """One chat completion with the bundled model's settings for Soft Thinking and Cold Stop."""
    body = {
        "model": "default",
        "messages": [{"role": "user", "content": question}],
        "temperature": 0.6,
        "max_tokens": 256,
        "custom_params": {"soft_thinking": SOFT_THINKING},
        "return_meta_info": True,
    }
    response = requests.post(f"{base}/v1/chat/completions", json=body, timeout=120)
    response.raise_for_status()
    return response.json()


def show(question: str, completion: dict) -> None:
    choice = completion["choices"][0]
    soft = choice["meta_info"]["soft_thinking"]
    print(f"\nQuestion         {question}")
    cut = "   [cut here by Cold Stop]" if soft["how_ended"] == "cold_stop" else ""
    print(f"Thinking         {choice['message']['reasoning_content']}{cut}")
    print(f"Answer           {choice['message']['content']}")
    print(
        f"Thinking tokens  {soft['thinking_tokens']}, ended by {soft['how_ended']}, "
        f"mean entropy {soft['mean_entropy']:.3f} nats"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=30000)
    parser.add_argument("--once", action="store_true", help="end the server after the answer")
    own, rest = parser.parse_known_args()
    base = f"http://127.0.0.1:{own.port}"
    check_port(own.port)
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "sglang_soft.launch_server",
            "--port",
            str(own.port),
            "--log-level",
            "warning",
            *rest,
        ]
    )
    try:
        print(f"Starting SGLang with the bundled model on {base} ...", flush=True)
        wait_until_healthy(base, server)
        show(QUESTION, ask(base, QUESTION))
        if not own.once:
            print(f"\nThe server is up on {base} (Ctrl-C ends it).", flush=True)
            server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
