"""`make bench-fork`: one thought and 16 answers, in four ways, on this machine's CPU.

    python -m launch.bench.fork
    python -m launch.bench.fork --model smollm2 --rounds 3

The ways: one request with n = 16 that goes on from the trace of the thought; 16 separate requests
with the trace; 16 requests that think and answer, each alone; 16 requests with the readable text of
the thought in their prompt. Separate requests are sent at once. Each way begins with an empty cache
and contains the request that makes the thought. The ways take turns, round after round.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter, sleep
from typing import Any, NamedTuple

import requests
from requests.adapters import HTTPAdapter

from launch import real_model
from launch.bench.hardware import machine
from launch.bench.turns import markdown, paired_ratio, spread, take_turns
from sglang_soft.server.process import Server

QUESTION = "<|im_start|>user\nWhat is 43*34?<|im_end|>\n<|im_start|>assistant\n"
PROMPTS = {"bundled": f"{QUESTION}<think>\n", "smollm2": QUESTION}
"""As the models' chat templates have it."""
SAMPLING = {"temperature": 0.6, "top_p": 0.95, "top_k": 30, "ignore_eos": True}
THINK = {"thinking_start": "now"}
LONGEST_END = 16
"""Room for the tokens of think-end."""


class Cost(NamedTuple):
    """What a way took."""

    prefill: int
    """Prompt tokens that were not in the prefix cache."""
    decode: int
    seconds: float


class Ways:
    """The ways on one server."""

    def __init__(self, url: str, prompt: str, answers: int, thinking: int, tokens: int) -> None:
        """
        Args:
            url: of the server.
            prompt: the question.
            answers: number of answers.
            thinking: at most so many tokens of a thought.
            tokens: of an answer.
        """
        self._url, self._prompt, self._answers, self._tokens = url, prompt, answers, tokens
        self._think = THINK | {"max_thinking_tokens": thinking, "max_answer_tokens": tokens}
        self._thinking = thinking
        self._session = requests.Session()
        self._session.trust_env = False  # http_proxy is not meant for the loopback interface
        self._session.mount("http://", HTTPAdapter(pool_maxsize=answers))
        self._pool = ThreadPoolExecutor(answers)
        self.costs: dict[str, list[Cost]] = {}
        self.thinking_tokens = 0
        """Of the last thought."""

    def one_request(self) -> list[dict]:
        first = self._thought()
        handle = first["meta_info"]["soft_thinking"]["kept"]["id"]
        return [first, *self._ask("", self._from(handle), n=self._answers)]

    def separate(self) -> list[dict]:
        first = self._thought()
        handle = first["meta_info"]["soft_thinking"]["kept"]["id"]
        return [first, *self._at_once("", self._from(handle))]

    def independent(self) -> list[dict]:
        return self._at_once(self._prompt, self._think)

    def as_text(self) -> list[dict]:
        first = self._thought()
        return [first, *self._at_once(self._prompt + first["text"], False)]

    def seconds(self, name: str, way: Callable[[], list[dict]]) -> float:
        """Measures a way, and keeps its cost."""
        self._flush()
        start = perf_counter()
        outs = way()
        seconds = perf_counter() - start
        infos = [out["meta_info"] for out in outs]
        prefill = sum(info["prompt_tokens"] - info["cached_tokens"] for info in infos)
        # SGLang's own request before n samples: the thought is cached, all but its last token.
        prefill += way == self.one_request
        decode = sum(info["completion_tokens"] for info in infos)
        self.costs.setdefault(name, []).append(Cost(prefill, decode, seconds))
        return seconds

    def _thought(self) -> dict:
        only = self._think | {"max_answer_tokens": 0, "keep": True}
        (out,) = self._ask(self._prompt, only, skip_special_tokens=False)
        self.thinking_tokens = out["meta_info"]["soft_thinking"]["thinking_tokens"]
        return out

    def _from(self, handle: str) -> dict[str, Any]:
        return {"trace": handle, "at": "answer", "max_answer_tokens": self._tokens}

    def _at_once(self, text: str, soft: Any) -> list[dict]:
        futures = [self._pool.submit(self._ask, text, soft) for _ in range(self._answers)]
        return [out for future in futures for out in future.result()]

    def _ask(self, text: str, soft: Any, **sampling: Any) -> list[dict]:
        longest = self._tokens
        if soft is not False and "trace" not in soft:
            longest += self._thinking + LONGEST_END
        params = SAMPLING | {"max_new_tokens": longest} | sampling
        params["custom_params"] = {"soft_thinking": soft}
        body = {"text": text, "sampling_params": params}
        response = self._session.post(f"{self._url}/generate", json=body, timeout=600)
        if response.status_code != 200:
            raise RuntimeError(response.text)
        found = response.json()
        return found if isinstance(found, list) else [found]

    def _flush(self) -> None:
        """SGLang refuses while the last request is not yet put away."""
        for _ in range(100):
            if self._session.post(f"{self._url}/flush_cache", timeout=60).status_code == 200:
                return
            sleep(0.05)
        raise RuntimeError("the cache was not flushed")


def measure(url: str, args: argparse.Namespace) -> str:
    """The table."""
    ways = Ways(url, PROMPTS[args.model], args.answers, args.thinking, args.tokens)
    n = args.answers
    runs = {
        f"1 thought, one request with n = {n}": ways.one_request,
        f"1 thought, {n} requests with the trace": ways.separate,
        f"{n} thoughts, each with its answer": ways.independent,
        f"1 thought, {n} requests with its text": ways.as_text,
    }
    measured = take_turns(
        {name: partial(ways.seconds, name, way) for name, way in runs.items()}, args.rounds
    )
    first, rows = next(iter(runs)), []
    for name, seconds in measured.items():
        costs = ways.costs[name][1:]  # without the warm-up
        counts = [_range([getattr(cost, part) for cost in costs]) for part in ("prefill", "decode")]
        ratio = "" if name == first else str(paired_ratio(seconds, measured[first]))
        rows.append([name, *counts, spread(seconds, 2), ratio])
    header = ["way", "prefill tokens computed", "decode tokens", "seconds", "times the first way"]
    about = (
        f"The last thought had {ways.thinking_tokens} tokens, an answer has {args.tokens}; "
        f"{args.rounds} rounds; seconds: median (min .. max); ratios: median of paired rounds "
        f"(quartiles); load average before: {args.load:.1f}"
    )
    return f"{about}\n\n{markdown(header, rows)}"


def _range(values: Sequence[int]) -> str:
    """The median, with the range where there is one."""
    middle, low, high = statistics.median_low(values), min(values), max(values)
    return f"{middle:,}" if low == high else f"{middle:,} ({low:,} .. {high:,})"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", choices=["bundled", "smollm2"], default="bundled")
    add("--answers", type=int, default=16, help="default: %(default)s")
    add("--thinking", type=int, default=128, help="bound of a thought (default: %(default)s)")
    add("--tokens", type=int, default=8, help="of an answer (default: %(default)s)")
    add("--rounds", type=int, default=7, help="2 or more (default: %(default)s)")
    args = parser.parse_args()
    for name, least in (("answers", 2), ("thinking", 1), ("tokens", 1), ("rounds", 2)):
        if getattr(args, name) < least:
            parser.error(f"--{name} must be {least} or more; got {getattr(args, name)}")
    args.load = os.getloadavg()[0]
    return args


def main() -> None:
    args = arguments()
    print(machine(), flush=True)
    flags = ["--log-level", "warning"]
    if args.model == "smollm2":
        flags += ["--model-path", str(real_model.path()), "--soft-think-end", real_model.THINK_END]
    try:
        with Server(flags) as server:
            print(f"\n**{args.model}.** {measure(server.url, args)}")
    except (RuntimeError, requests.RequestException) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
