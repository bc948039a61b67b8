"""Requests of every kind, good and bad, against one server for some minutes, with discrete greedy
requests next to them whose answers must stay those of a quiet server.

    python -m launch.soak --minutes 10 [any flag of the server]

Prints how often each kind was asked and what came back. Exit status 1: an answer changed, the
server ended, or it answered with an error of its own (HTTP 5xx).
"""

import argparse
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import requests

from sglang_soft import methods
from sglang_soft.server.process import Server

PROMPT = "<|im_start|>user\nWhat is {}?<|im_end|>\n<|im_start|>assistant\n<think>\n"
QUESTIONS = ("43*34", "12+99*3", "7*8", "81*27+5", "100*3+11*12", "64*64")
TOLERANCE = 1e-4
"""Of a logprob: other requests in the batch change the rounding."""

Request = tuple[str, str, dict[str, Any]]
"""Kind, path, body."""


def generate(soft: Any, question: str, **changes: Any) -> dict[str, Any]:
    sampling = {"temperature": 0.6, "max_new_tokens": 96, "custom_params": {"soft_thinking": soft}}
    sampling |= changes.pop("sampling", {})
    return {"text": PROMPT.format(question), "sampling_params": sampling} | changes


def kinds(rng: random.Random) -> Request:
    """One request of a random kind."""
    q, path = rng.choice(QUESTIONS), "/generate"
    method = rng.choice(methods.names())
    trace = {"soft_thinking": {"return_concepts": True}}
    messages = [{"role": "user", "content": f"What is {q}?"}]
    chat = {"model": "default", "messages": messages, "max_tokens": 64, "custom_params": trace}
    beams = {"beam_width": 3, "max_new_tokens": 24}
    everywhere = {"thinking_stop": "everywhere"}
    discrete = {"text": PROMPT.format(q)}
    every: list[Request] = [
        (f"method {method}", path, generate({"method": method}, q)),
        ("drawn from the vocabulary", path, generate({"method": "cot"}, q, sampling={"top_k": -1})),
        ("with its trace", path, generate({"return_concepts": True}, q, stream=True)),
        ("Cold Stop", path, generate({"cold_stop_entropy": 0.2, "cold_stop_steps": 4}, q)),
        ("bound", path, generate({"max_thinking_tokens": rng.randrange(9)}, q)),
        ("n samples", path, generate({"method": "soft_gumbel"}, q, sampling={"n": 3})),
        ("stop string", path, generate({}, q, sampling={"stop": ["Answer"]})),
        ("stop everywhere", path, generate(everywhere, q, sampling={"stop": "="})),
        ("grammar", path, generate({"max_thinking_tokens": 9}, q, sampling={"regex": "[0-9]+"})),
        ("bad grammar", path, generate({}, q, sampling={"regex": "("})),
        ("logprobs", path, generate({}, q, return_logprob=True, top_logprobs_num=2)),
        ("preset", path, generate({"preset": "qwq-32b"}, q)),
        ("think tokens in the text", path, generate({}, f"<think> {q} </think> <think>")),
        ("out of range", path, generate({"max_topk": rng.choice([0, -1, 99, 2.5, "x"])}, q)),
        ("unknown key", path, generate({"magic": 1}, q)),
        ("no object", path, generate(rng.choice(["yes", 1, [], "{}"]), q)),
        ("wrong place", path, discrete | {"soft_thinking": True}),
        ("image", path, generate({}, q, image_data="x.png")),
        ("sampling mask", path, generate({}, q, return_sampling_mask=True)),
        ("seed", path, generate({"method": "cot"}, q, sampling={"sampling_seed": 2**60})),
        ("beyond the context", path, generate({}, q, sampling={"max_new_tokens": 10**6})),
        ("beam search", path, discrete | {"sampling_params": beams}),
        ("soft beam search", path, generate({}, q, sampling={"beam_width": 3})),
        ("chat", "/v1/chat/completions", chat),
        ("chat stream", "/v1/chat/completions", chat | {"stream": True}),
        ("messages", "/v1/messages", chat),
        ("nonsense in messages", "/v1/messages", chat | {"custom_params": {"soft_thinking": 7}}),
        ("Ollama", "/api/chat", chat | {"stream": False, "options": {"num_predict": 64}}),
        ("score", "/v1/score", {"query": "a", "items": ["b"], "soft_thinking": True}),
    ]  # fmt: skip
    return rng.choice(every)


class Soak:
    def __init__(self, url: str, seed: int) -> None:
        self.url, self.seed = url, seed
        self.counts: Counter[tuple[str, str]] = Counter()
        self.problems: list[str] = []
        self.compared = 0
        self._lock = threading.Lock()
        self.until = 0.0

    def reference(self, question: str) -> tuple[list[int], list[float]]:
        sampling = {"temperature": 0.0, "max_new_tokens": 48}
        body = {
            "text": PROMPT.format(question),
            "sampling_params": sampling,
            "return_logprob": True,
        }
        answer = requests.post(f"{self.url}/generate", json=body, timeout=300)
        answer.raise_for_status()
        info = answer.json()
        logprobs = [entry[0] for entry in info["meta_info"]["output_token_logprobs"]]
        return info["output_ids"], logprobs

    def disturb(self, number: int) -> None:
        rng = random.Random(self.seed * 1000 + number)
        while time.monotonic() < self.until:
            kind, path, body = kinds(rng)
            leaves = rng.random() < 0.1
            try:
                with requests.post(self.url + path, json=body, timeout=0.3 if leaves else 300,
                                   stream=leaves) as answer:  # fmt: skip
                    status = str(answer.status_code)
                    text = "" if leaves else answer.text
            except requests.Timeout:
                status, text = "client left", ""
            except requests.RequestException as error:
                status, text = type(error).__name__, str(error)
            with self._lock:
                self.counts[kind, "client left" if leaves else status] += 1
                if not leaves and status not in ("200", "400"):
                    self.problems.append(f"{kind}: {status} {text[:200]}")

    def compare(self, quiet: dict[str, tuple[list[int], list[float]]]) -> None:
        rng = random.Random(self.seed)
        while time.monotonic() < self.until:
            question = rng.choice(QUESTIONS)
            try:
                ids, logprobs = self.reference(question)
            except requests.RequestException as error:
                self.problems.append(f"discrete {question}: {error}")
                continue
            self.compared += 1
            apart = max(abs(a - b) for a, b in zip(logprobs, quiet[question][1]))
            if ids != quiet[question][0] or apart > TOLERANCE:
                self.problems.append(
                    f"discrete {question}: the answer changed (logprobs by {apart})"
                )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=6, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Path("soak.log"), help="the server's output")
    args, flags = parser.parse_known_args()
    with Server(flags, log=args.log) as server:
        soak = Soak(server.url, args.seed)
        quiet = {question: soak.reference(question) for question in QUESTIONS}
        soak.until = time.monotonic() + 60 * args.minutes
        work = [threading.Thread(target=soak.disturb, args=(i,)) for i in range(args.clients)]
        work.append(threading.Thread(target=soak.compare, args=(quiet,)))
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        alive = server.process is not None and server.process.poll() is None
    print("| kind | answers |\n| --- | --- |")
    for kind in sorted({kind for kind, _ in soak.counts}):
        found = [f"{n} x {status}" for (k, status), n in sorted(soak.counts.items()) if k == kind]
        print(f"| {kind} | {', '.join(found)} |")
    print(f"\n{soak.compared} discrete answers compared, {len(soak.problems)} problems, "
          f"server {'alive' if alive else 'ENDED'}")  # fmt: skip
    for problem in soak.problems[:20]:
        print(problem)
    return int(bool(soak.problems) or not alive or not soak.compared)


if __name__ == "__main__":
    sys.exit(main())
