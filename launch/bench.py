"""`make bench`: what Soft Thinking costs on this machine, on the bundled model, in one run.

Two engines are alive at once, one with the plugin and one without it, and take turns, so that noise
of the machine falls on all alike. Throughput: 32 requests at once, 64 output tokens each. Below it,
the time that our own code adds to a decode step, and the host memory of the concept history.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from bench_methods import measure_methods, methods_table
from hardware import machine
from measuring import BUNDLED_MODEL, Worker, paired_ratio, take_turns

ENGINE = {
    "model_path": str(BUNDLED_MODEL),
    "random_seed": 0,
    "log_level": "error",
    "sleep_on_idle": True,
    "disable_radix_cache": True,
}
PROMPT = "<|im_start|>user\nWhat is {}*{}?<|im_end|>\n<|im_start|>assistant\n<think>\n"
SOFT = {"temperature": 0.6, "top_p": 0.95, "top_k": 30, "min_p": 0.001}


def batch(requests: int, tokens: int, method: str | None) -> dict:
    """Arguments of `Engine.generate`; method None: hard."""
    prompts = [PROMPT.format(11 + i, 97 - i) for i in range(requests)]
    sampling: dict[str, Any] = {
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": 30,
        "max_new_tokens": tokens,
        "ignore_eos": True,
    }
    if method is not None:
        sampling["custom_params"] = {"soft_thinking": SOFT | {"method": method}}
    return {"prompt": prompts, "sampling_params": sampling}


def rate(worker: Worker, requests: int, tokens: int, method: str | None) -> float:
    """Output tokens per second, prefill included."""
    result = worker.run(**batch(requests, tokens, method))
    return result.tokens / result.seconds


def every_method(requests: int, tokens: int, rounds: int, attention_backend: str) -> None:
    worker = Worker(plugin=True, engine=ENGINE | {"attention_backend": attention_backend})
    figures = measure_methods(lambda method: rate(worker, requests, tokens, method), rounds)
    worker.close()
    print(
        f"\nEvery method, {requests} requests at once, {tokens} tokens each, n = {rounds}, {attention_backend}:"
    )
    print(methods_table(figures))


def throughput(requests: int, tokens: int, rounds: int, attention_backend: str) -> None:
    engine = ENGINE | {"attention_backend": attention_backend}
    with_plugin, without = Worker(plugin=True, engine=engine), Worker(plugin=False, engine=engine)

    runs: dict[str, Callable[[], float]] = {
        "soft": lambda: rate(with_plugin, requests, tokens, "soft"),
        "hard": lambda: rate(with_plugin, requests, tokens, None),
        "hard without plugin": lambda: rate(without, requests, tokens, None),
    }
    measured = take_turns(runs, rounds)
    with_plugin.close()
    without.close()
    print(
        f"\nOutput tokens per second, {requests} requests at once, {tokens} tokens each, n = {rounds},",
        end=" ",
    )
    print(f"attention backend {attention_backend}:")
    show(measured, [("soft", "hard"), ("hard", "hard without plugin")])


def backends(requests: int, tokens: int, rounds: int, names: list[str]) -> None:
    """The first attention backend against each other one, with hard requests and without the
    plugin."""
    workers = {
        name: Worker(plugin=False, engine=ENGINE | {"attention_backend": name}) for name in names
    }

    runs: dict[str, Callable[[], float]] = {
        name: partial(rate, worker, requests, tokens, None) for name, worker in workers.items()
    }
    measured = take_turns(runs, rounds)
    for worker in workers.values():
        worker.close()
    print(
        f"\nOutput tokens per second by attention backend, {requests} hard requests at once, {tokens} tokens each,"
    )
    print(f"n = {rounds}, without the plugin:")
    show(measured, [(names[0], other) for other in names[1:]])


def show(measured: dict[str, list[float]], ratios: list[tuple[str, str]]) -> None:
    """A table of rates, and ratios of paired rounds."""
    print("| | median | min | max |\n| --- | --- | --- | --- |")
    for name, values in measured.items():
        print(
            f"| {name} | {statistics.median(values):.0f} | {min(values):.0f} | {max(values):.0f} |"
        )
    for top, bottom in ratios:
        ratio = paired_ratio(measured[top], measured[bottom])
        print(f"{top} / {bottom}: {ratio} (median of paired rounds; quartiles)")


def microseconds(run: Callable[[], object], repeats: int = 300) -> tuple[float, float]:
    """(median, 90th percentile) of one call, in microseconds."""
    for _ in range(20):
        run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e6)
    return statistics.median(times), statistics.quantiles(times, n=10)[8]


def own_code(rows: int, vocabulary: int = 128, hidden: int = 128) -> None:
    """Device part: step, state and mixture; host part: records, histories, names. CPU tensors, one
    thread."""
    from types import SimpleNamespace

    import torch
    from sglang_soft_kernels import embedding_mixture

    from sglang_soft.params import Sampling
    from sglang_soft.plan import plan_forward
    from sglang_soft.pool import ConceptPool
    from sglang_soft.request import SoftRequest
    from sglang_soft.step import concept_step
    from sglang_soft.transfer import DeviceConcepts
    from sglang_soft.wire import SoftParams

    torch.set_num_threads(1)
    torch.manual_seed(0)
    params = SoftParams(
        method="soft", args=(), seed=0, sample=0, max_topk=10, thinking=Sampling(1.0, 1.0, -1, 0.0),
        cold_stop_entropy=0.0, cold_stop_steps=256, max_thinking_tokens=None, max_new_tokens=64, return_concepts=False,
        think_start_id=4, think_end_id=5, starts_thinking=True,
    )  # fmt: skip
    pool = ConceptPool(rows + 1, 32, "cpu")
    requests: list[SoftRequest | None] = [SoftRequest(params) for _ in range(rows)]
    pool.start(range(1, rows + 1), requests)
    index = torch.arange(1, rows + 1)
    logits, table = torch.randn(rows, vocabulary), torch.randn(vocabulary, hidden)
    tokens = torch.zeros(rows, dtype=torch.int64)
    plan = plan_forward(pool, index, requests)
    commits = [SimpleNamespace(token_ids=(1,))] * rows

    def device() -> DeviceConcepts:
        step = concept_step(plan, logits)
        step.merge(tokens)
        step.advance(plan, tokens)
        return DeviceConcepts.of(step, plan)

    def host() -> None:
        device_output.copy_to_host(lambda t: t).consume(None, commits)

    device_output = device()
    print(
        f"\nOur own code in a decode step of {rows} soft rows, V = {vocabulary}, K = 10, one thread:"
    )
    print("| part | us a step, median (p90) | us a row |\n| --- | --- | --- |")
    plain = microseconds(lambda: torch.nn.functional.embedding(tokens, table))[0]
    for name, run in (
        ("device: sampling step and state", device),
        (
            "device: embedding mixture",
            lambda: embedding_mixture(table, tokens, index, pool.ids[:, :10], pool.weights[:, :10]),
        ),
        ("host: history", host),
    ):
        median, p90 = microseconds(run)
        print(f"| {name} | {median:.0f} ({p90:.0f}) | {median / rows:.1f} |")
    print(f"(a plain embedding look-up: {plain:.0f} us a step)")
    assert requests[0]
    log = requests[0].log
    print(
        f"\nHost history at K = 10, every slot in use: {log.nbytes / len(log):.1f} bytes a thinking token"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--attention-backend", nargs="+", default=["soft_cpu", "torch_native"])
    args = parser.parse_args()
    print(machine())
    own_code(args.requests)
    for attention_backend in args.attention_backend:
        throughput(args.requests, args.tokens, args.rounds, attention_backend)
    every_method(args.requests, args.tokens, args.rounds, args.attention_backend[0])
    if len(args.attention_backend) > 1:
        backends(args.requests, args.tokens, args.rounds, args.attention_backend)


if __name__ == "__main__":
    main()
