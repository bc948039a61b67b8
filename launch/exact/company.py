"""`make company`: does a thought depend on its company? On a pretrained model, bit for bit.

    python -m launch.exact.company --dtype bfloat16
    python -m launch.exact.company --deterministic --methods all --prompts 4 --alone 2

The same requests are asked again and again: alone, in a batch, in a batch of others in another
order, with a cached prompt, cut into chunks and retracted, and without the overlap schedule. Each
answer is compared with that of the first round that has it: the output tokens, and of every
thinking step the ids, the weights and the entropy, bit for bit. With --deterministic the servers
run with --enable-deterministic-inference, and the exit status is 1 if a bit differs.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import orjson

from launch import real_model
from launch.bench.hardware import machine
from launch.exact.questions import questions
from sglang_soft import methods
from sglang_soft.client import Client
from sglang_soft.server.markdown import table
from sglang_soft.server.process import Server

DRAWN = "discrete drawn"
CONFIGURATIONS: dict[str, dict[str, Any] | None] = {
    "discrete greedy": None,
    DRAWN: None,
    "soft": {"method": "soft"},
    "soft, 12 bits": {"method": "soft", "weight_bits": 12},
    "soft, 8 bits": {"method": "soft", "weight_bits": 8},
    "soft, 4 bits": {"method": "soft", "weight_bits": 4},
} | {name: {"method": name} for name in methods.names() if name != "soft"}
"""Name: the request's parameters, or None for discrete decoding. SGLang draws discrete tokens with
seeds in its deterministic mode only."""
THOUGHT = {"thinking_start": "now", "temperature": 0.6, "top_p": 0.95, "top_k": 30, "max_topk": 10}
SMALL = ["--max-running-requests", "32", "--max-total-tokens", "16384"]
CUT = ["--chunked-prefill-size", "8", "--enable-mixed-chunk"]
RETRACT = {"SGLANG_TEST_RETRACT": "1", "SGLANG_TEST_RETRACT_INTERVAL": "16"}
"""SGLang's own test of retraction."""
SERVERS: dict[str, tuple[list[str], dict[str, str], tuple[str, ...]]] = {
    "plain": ([], {}, ("alone", "in a batch", "other batch", "cached")),
    "cut": (CUT, RETRACT, ("cut, retracted",)),
    "late": (["--disable-overlap-schedule"], {}, ("no overlap",)),
}
"""Name: flags, environment, rounds that it is asked."""
ROUNDS = tuple(name for _, _, names in SERVERS.values() for name in names)


class Asked(NamedTuple):
    configuration: str
    question: str
    body: dict[str, Any]


class Answer(NamedTuple):
    tokens: list[int]
    steps: list[tuple]
    """Of each thinking step: ids, weights, entropy. JSON keeps every bit of a float32."""
    cached: int
    retracted: int

    @classmethod
    def of(cls, out: dict[str, Any]) -> "Answer":
        """out: one of SGLang's /generate, or of `Engine.generate`."""
        info = out["meta_info"]
        trace = info.get("soft_thinking", {}).get("trace", {})
        columns = (trace.get(name, ()) for name in ("ids", "weights", "entropy"))
        steps = [(tuple(i), tuple(w), e) for i, w, e in zip(*columns, strict=True)]
        retracted = info.get("num_retractions", 0)
        return cls(out["output_ids"], steps, info["cached_tokens"], retracted)

    @property
    def bits(self) -> list[tuple]:
        """What has to be the same at each position."""
        steps = [*self.steps, *[()] * (len(self.tokens) - len(self.steps))]
        return list(zip(self.tokens, steps, strict=False))


class Pair(NamedTuple):
    """One answer, compared with the reference's."""

    bit: int | None
    """First position at which a bit differs; None: never."""
    token: int | None
    """First position with another token."""
    shared: float
    """Share of the thought up to the first step whose concept token differs: what a radix cache
    can share."""


def compare(answer: Answer, reference: Answer) -> Pair:
    a, b = answer.bits, reference.bits
    fed = [s[:2] for s in answer.steps], [s[:2] for s in reference.steps]
    apart = _first_difference(*fed)
    steps = max(len(reference.steps), 1)
    return Pair(
        _first_difference(a, b), _first_difference(answer.tokens, reference.tokens),
        1.0 if apart is None else apart / steps,
    )  # fmt: skip


def _first_difference(a: Sequence, b: Sequence) -> int | None:
    found = (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
    return next(found, None if len(a) == len(b) else min(len(a), len(b)))


def requests_of(names: Sequence[str], prompts: int, steps: int) -> list[Asked]:
    """Question by question, so that a batch has every configuration."""
    asked = []
    for number, question in enumerate(questions(prompts)):
        text = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        for name in names:
            sampling = {"temperature": 0.0, "max_new_tokens": steps, "ignore_eos": True}
            soft = CONFIGURATIONS[name]
            if name == DRAWN:
                sampling |= {"temperature": 0.6, "top_p": 0.95, "top_k": 30}
            if soft is not None or name == DRAWN:
                sampling["sampling_seed"] = number
            if soft is not None:
                soft_thinking = THOUGHT | soft | {"return_concepts": True}
                sampling["custom_params"] = {"soft_thinking": soft_thinking}
            asked.append(Asked(name, question, {"text": text, "sampling_params": sampling}))
    return asked


def at_once(server: Client, asked: Sequence[Asked], running: int) -> Iterator[Answer]:
    """Answers in order; `running` requests at a time."""

    def ask(one: Asked) -> Answer:
        return Answer.of(orjson.loads(server.post("/generate", one.body)))

    with ThreadPoolExecutor(running) as pool:
        yield from pool.map(ask, asked)


def round_of(name: str, server: Client, asked: list[Asked], alone: int) -> dict[int, Answer]:
    """By number of the request. alone: how many requests are asked one by one."""
    if name != "cached":
        server.post("/flush_cache", {})
    if name == "alone":
        return dict(enumerate(at_once(server, asked[:alone], 1)))
    order = list(range(len(asked)))
    if name != "in a batch":
        random.Random(1).shuffle(order)
    # Some matrix products give a row the same bits in every batch of a multiple of 4 rows.
    running = 23 if name == "other batch" else 32
    answers = at_once(server, [asked[i] for i in order], running)
    return dict(zip(order, answers, strict=True))


class Cell(NamedTuple):
    """One configuration in one round."""

    pairs: list[Pair]

    def __str__(self) -> str:
        if not self.pairs:
            return ""
        count = len(self.pairs)
        bits = [p.bit for p in self.pairs if p.bit is not None]
        if not bits:
            return f"{count}: equal"
        text = f"{count}: bits of {len(bits)}, first at {min(bits)}"
        if tokens := [p.token for p in self.pairs if p.token is not None]:
            text += f"; tokens of {len(tokens)}, first at {min(tokens)}, median {median(tokens):g}"
        return f"{text}; fed alike {mean(p.shared for p in self.pairs):.0%}"


def measure(args: argparse.Namespace, asked: list[Asked]) -> dict[tuple[str, str], Cell]:
    """(configuration, round) -> what was compared."""
    reference: dict[int, Answer] = {}
    cells: dict[tuple[str, str], Cell] = {}
    common = [
        "--model-path", str(args.model or real_model.path()), "--dtype", args.dtype,
        "--log-level", "warning", "--random-seed", "1", *SMALL,
    ]  # fmt: skip
    if args.deterministic:
        common.append("--enable-deterministic-inference")
    for name, (flags, env, rounds) in SERVERS.items():
        if not (wanted := [r for r in rounds if r in args.rounds]):
            continue
        with Server([*common, *flags], env=env, log=args.log) as server:
            for each in wanted:
                began = time.monotonic()
                answers = round_of(each, Client(server.url), asked, args.alone * len(args.methods))
                check_taken(each, answers)
                for i, answer in answers.items():
                    if i in reference:
                        cell = cells.setdefault((asked[i].configuration, each), Cell([]))
                        cell.pairs.append(compare(answer, reference[i]))
                    reference.setdefault(i, answer)
                seconds, tokens = (
                    time.monotonic() - began,
                    sum(len(a.tokens) for a in answers.values()),
                )
                print(f"{name}, {each}: {len(answers)} requests, {tokens} tokens, {seconds:.0f} s",
                      file=sys.stderr, flush=True)  # fmt: skip
    return cells


def check_taken(name: str, answers: dict[int, Answer]) -> None:
    """Raises RuntimeError if SGLang did not do what the round is named after."""
    if name == "cached" and not all(answer.cached for answer in answers.values()):
        raise RuntimeError("a prompt was not cached")
    if name == "cut, retracted" and not sum(answer.retracted for answer in answers.values()):
        raise RuntimeError("nothing was retracted")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--deterministic", action="store_true")
    parser.add_argument("--prompts", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--alone", type=int, default=0, metavar="N", help="prompts asked alone")
    parser.add_argument(
        "--methods", nargs="+", choices=["all", *CONFIGURATIONS], metavar="NAME",
        default=["discrete greedy", "soft", "soft, 8 bits"], help=f"of {', '.join(CONFIGURATIONS)}",
    )  # fmt: skip
    parser.add_argument("--rounds", nargs="+", choices=ROUNDS, metavar="ROUND", default=ROUNDS,
                        help=f"of {', '.join(ROUNDS)}")  # fmt: skip
    parser.add_argument("--model", type=Path, help="folder; default: SmolLM2-135M-Instruct")
    parser.add_argument("--log", type=Path, default=Path("company.log"), help="the servers' output")
    args = parser.parse_args(argv)
    if "all" in args.methods:
        args.methods = [n for n in CONFIGURATIONS if args.deterministic or n != DRAWN]
    if DRAWN in args.methods and not args.deterministic:
        parser.error(f"{DRAWN!r} needs --deterministic: SGLang draws without seeds else")
    if min(args.prompts, args.steps) < 1 or not 0 <= args.alone <= args.prompts:
        parser.error("--prompts and --steps must be 1 or more, --alone 0 to --prompts")
    return args


def main() -> int:
    args = arguments()
    began = time.monotonic()
    try:
        cells = measure(args, requests_of(args.methods, args.prompts, args.steps))
    except (OSError, RuntimeError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error
    rounds = [r for r in ROUNDS if any((m, r) in cells for m in args.methods)]
    rows = [
        {"request": m} | {r: str(cells.get((m, r), Cell([]))) for r in rounds} for m in args.methods
    ]
    mode = "deterministic" if args.deterministic else "default"
    print(f"{machine()}\n{args.dtype}, {mode} mode, {args.steps} tokens a request, "
          f"{(time.monotonic() - began) / 60:.0f} minutes\n")  # fmt: skip
    print(table(rows))
    unequal = any(p.bit is not None for cell in cells.values() for p in cell.pairs)
    return int(args.deterministic and unequal)


if __name__ == "__main__":
    sys.exit(main())
