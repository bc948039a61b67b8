"""The tables of `cpu`: what two engines take turns at."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from launch import BUNDLED_MODEL
from launch.bench.methods import measure_methods, methods_table
from launch.bench.requests import step_seconds, tokens_per_second
from launch.bench.turns import markdown, paired_ratio, spread, take_turns
from launch.bench.worker import Worker

ENGINE = {
    "model_path": str(BUNDLED_MODEL),
    "random_seed": 0,
    "log_level": "error",
    "sleep_on_idle": True,
    "disable_radix_cache": True,
}
PROMPT = "<|im_start|>user\nWhat is {}*{}?<|im_end|>\n<|im_start|>assistant\n<think>\n"
STEPS = 40
"""Decode steps of `one-soft`. The bundled model thinks longer than these and the short run's."""


class Side(NamedTuple):
    """One of the two engines."""

    suffix: str
    """Of its rows' names; empty: this checkout with the plugin."""
    worker: Worker
    plugin: bool


def prompts(requests: int) -> dict[str, list[str]]:
    return {"prompt": [PROMPT.format(11 + i, 97 - i) for i in range(requests)]}


def compare(
    runs: Mapping[str, Callable[[], float]],
    ratios: Sequence[tuple[str, str]],
    args: argparse.Namespace,
    digits: int = 0,
) -> None:
    """Measure the runs, and print their figures and ratios of paired rounds."""
    measured = take_turns(runs, args.rounds, args.deadline)
    print(
        markdown(["", "median (min .. max)"], [[n, spread(x, digits)] for n, x in measured.items()])
    )
    rounds = len(next(iter(measured.values())))
    for top, bottom in ratios:
        ratio = paired_ratio(measured[top], measured[bottom])
        print(f"{top} / {bottom}: {ratio} (median of {rounds} paired rounds; quartiles)")


def across(sides: Sequence[Side], names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs (ours, the other side's) of the runs that both sides have."""
    other = sides[1]
    return [(n, n + other.suffix) for n in names if other.plugin or "discrete" in n]


def throughput(sides: Sequence[Side], args: argparse.Namespace) -> None:
    print(f"\nOutput tokens a second, {args.requests} requests at once, {args.tokens} tokens each:")
    runs: dict[str, Callable[[], float]] = {}
    for suffix, worker, plugin in sides:
        for name, method in (("soft", "soft"), ("discrete", None)):
            if plugin or method is None:
                runs[name + suffix] = partial(
                    tokens_per_second,
                    worker,
                    prompts(args.requests),
                    [method] * args.requests,
                    args.tokens,
                )
    compare(runs, [("soft", "discrete"), *across(sides, ["soft", "discrete"])], args)


def one_soft(sides: Sequence[Side], args: argparse.Namespace) -> None:
    print(f"\nMilliseconds of a decode step, {args.discrete} discrete requests and one more:")
    rows = args.discrete + 1
    runs: dict[str, Callable[[], float]] = {}

    def milliseconds(worker: Worker, method: str | None) -> float:
        methods = [method, *[None] * args.discrete]
        return 1000 * step_seconds(worker, prompts(rows), methods, STEPS, least_thinking=0.9)

    for suffix, worker, plugin in sides:
        for name, method in (("one is soft", "soft"), ("all are discrete", None)):
            if plugin or method is None:
                runs[name + suffix] = partial(milliseconds, worker, method)
    names = ["one is soft", "all are discrete"]
    compare(runs, [(names[0], names[1]), *across(sides, names)], args, digits=2)


def every_method(sides: Sequence[Side], args: argparse.Namespace) -> None:
    def rate(worker: Worker, method: str | None) -> float:
        methods = [method] * args.requests
        return tokens_per_second(worker, prompts(args.requests), methods, args.tokens)

    rates = {side.suffix: partial(rate, side.worker) for side in sides if side.plugin}
    print(f"\nEvery method, {args.requests} requests at once, {args.tokens} tokens each:")
    print(methods_table(measure_methods(rates, args.rounds, args.deadline)))


def backends(args: argparse.Namespace) -> None:
    """The first attention backend against each other one."""
    first, *others = args.attention_backend
    print(
        f"\nOutput tokens a second by attention backend, {args.requests} discrete requests at once,"
    )
    print(f"{args.tokens} tokens each, without the plugin:")
    with ExitStack() as stack:
        runs: dict[str, Callable[[], float]] = {}
        workers = []
        for name in args.attention_backend:
            engine = ENGINE | {"attention_backend": name}
            worker = stack.enter_context(
                Worker(plugin=False, engine=engine, deadline=args.deadline)
            )
            workers.append(worker)
            batch = (prompts(args.requests), [None] * args.requests, args.tokens)
            runs[name] = partial(tokens_per_second, worker, *batch)
        for worker in workers:
            worker.ready()
        compare(runs, [(first, other) for other in others], args)
