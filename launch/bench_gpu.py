"""`make bench-gpu`: soft against hard against no plugin, at the shapes of real models, with random
weights.

    python launch/bench_gpu.py                         on a CUDA machine; --quick: minutes, --write:
    into BENCHMARKS.md python launch/bench_gpu.py --dry-run               anywhere: what would be
    run, and the tables without figures python launch/bench_gpu.py --model bundled --device cpu
    --small       anywhere: checks that it runs

Nothing is downloaded. A figure is output tokens per second of decoding alone: requests all at once,
fixed length, and the time of a short output taken off the time of a long one, which leaves no
prefill in it. Soft and hard take turns on one engine, request for request the same prompts; the
engine without the plugin takes its turns beside it where the memory holds both, else it runs after
it, and the table says so. Random weights give a nearly flat distribution: every concept token has
all K slots in use, the dearest case for the mixture.
"""

import argparse
import shlex
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench_methods import measure_methods, methods_table
from gpu_plan import PROMPT_TOKENS, SHORT, SPARE_TOKENS, Plan, make_plan, request
from hardware import gpus, machine
from measuring import BUNDLED_MODEL, ROOT, Worker, paired_ratio, take_turns, write_section
from shapes import SHAPES, THINK_END, THINK_START

THINK = {"SGLANG_SOFT_THINK_START": str(THINK_START), "SGLANG_SOFT_THINK_END": str(THINK_END)}
KINDS = ("soft", "hard", "hard without plugin")


def decode_rate(worker: Worker, plan: Plan, batch: int, method: str | None) -> float:
    """Output tokens per second of decoding; method None: hard."""
    short = worker.run(**request(plan, batch, SHORT, method))
    long = worker.run(**request(plan, batch, SHORT + plan.tokens, method))
    # A trained model may end its thinking; random weights do not, and if they did, hard steps would
    # be measured.
    if method and plan.model in SHAPES and long.thinking < 0.98 * long.tokens:
        raise SystemExit(
            f"{plan.model}: only {long.thinking} of {long.tokens} tokens were concept tokens"
        )
    return (long.tokens - short.tokens) / (long.seconds - short.seconds)


def start(plan: Plan, path: Path, plugin: bool, **engine: Any) -> Worker:
    """An engine with room for the plan's largest batch; engine: arguments beside the plan's."""
    worker = Worker(plugin=plugin, engine=plan.engine(path) | engine, env=THINK)
    if worker.cache_tokens < plan.cache_tokens - SPARE_TOKENS:  # requests would wait for each other
        raise SystemExit(
            f"{plan.model}: room for {worker.cache_tokens} tokens of {plan.cache_tokens}; fewer --batches"
        )
    return worker


def measure_every_method(plan: Plan, path: Path, rounds: int, batch: int) -> dict[str, list[float]]:
    """[rounds] figures by method. coconut_tf reads hidden states: this engine's graphs return them,
    for all alike."""
    worker = start(plan, path, plugin=True, return_hidden_states_mode="last")
    figures = measure_methods(lambda method: decode_rate(worker, plan, batch, method), rounds)
    worker.close()
    return figures


def measure(plan: Plan, path: Path, rounds: int) -> dict[int, dict[str, list[float]]]:
    """[rounds] figures by batch size and kind."""

    def take(workers: dict[str, Worker]) -> dict[int, dict[str, list[float]]]:
        found = {}
        for batch in plan.batches:
            runs: dict[str, Callable[[], float]] = {
                kind: partial(decode_rate, worker, plan, batch, "soft" if kind == "soft" else None)
                for kind, worker in workers.items()
            }
            found[batch] = take_turns(runs, rounds)
        for worker in set(workers.values()):
            worker.close()
        return found

    ours = start(plan, path, plugin=True)
    if plan.together:
        return take({"soft": ours, "hard": ours, KINDS[2]: start(plan, path, plugin=False)})
    first = take({"soft": ours, "hard": ours})
    second = take({KINDS[2]: start(plan, path, plugin=False)})
    return {batch: first[batch] | second[batch] for batch in plan.batches}


def table(plan: Plan, figures: dict[int, dict[str, list[float]]] | None, rounds: int) -> str:
    """Markdown. figures None: the skeleton of a dry run."""
    lines = [
        f"**{plan.model}**, {PROMPT_TOKENS} prompt tokens, {plan.tokens} output tokens measured, n = {rounds}; output "
        "tokens per second of decoding: median (min .. max); ratios: median of rounds (quartiles)."
    ]
    if not plan.together:
        lines.append(
            "The engine without the plugin ran after the other one, as memory does not hold both."
        )
    if plan.left_out:
        lines.append(f"Left out, as this machine's memory does not hold it: batch {plan.left_out}.")
    lines += ["", "| batch | " + " | ".join(KINDS) + " | soft / hard | hard / without plugin |"]
    lines.append("| --- " * 6 + "|")
    for batch in plan.batches:
        cells = ["", "", "", "", ""]
        if figures:
            soft, hard, plain = (figures[batch][kind] for kind in KINDS)
            cells = [
                f"{statistics.median(x):.0f} ({min(x):.0f} .. {max(x):.0f})"
                for x in (soft, hard, plain)
            ]
            cells += [str(paired_ratio(soft, hard)), str(paired_ratio(hard, plain))]
        lines.append(f"| {batch} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    models = [*SHAPES, "bundled"]
    parser.add_argument(
        "--model", action="append", choices=models, help="default: " + ", ".join(SHAPES)
    )
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument(
        "--tokens", type=int, default=256, help="output tokens measured (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="2 or more (default: %(default)s)")
    parser.add_argument(
        "--methods-batch",
        type=int,
        default=64,
        help="batch at which every method is measured, on the first model; 0: none",
    )
    parser.add_argument(
        "--quick", action="store_true", help="Qwen3-8B, batch 1 and 64, 128 tokens, 3 rounds"
    )
    parser.add_argument(
        "--small", action="store_true", help="batch 1 and 3, 8 tokens, 2 rounds: does it run?"
    )
    parser.add_argument("--write", action="store_true", help="write the tables into BENCHMARKS.md")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be run, start nothing"
    )
    args = parser.parse_args()
    args.model = args.model or (["qwen3-8b"] if args.quick else list(SHAPES))
    if args.quick:
        args.batches, args.tokens, args.rounds, args.methods_batch = [1, 64], 128, 3, 0
    if args.small:
        args.batches, args.tokens, args.rounds, args.methods_batch = [1, 3], 8, 2, 3
    if args.rounds < 2:
        parser.error("--rounds must be 2 or more: a spread needs two")
    return args


def show(plan: Plan) -> None:
    """The engines that would be measured, as the commands of the servers that equal them."""
    path = BUNDLED_MODEL.relative_to(ROOT)
    if plan.model in SHAPES:
        path = Path("build/shapes") / plan.model
        print(shlex.join(["python", "launch/shapes.py", plan.model, str(path)]))
    options = plan.engine(path)
    flags = [
        f"--{k.replace('_', '-')}" + ("" if v is True else f"={v}") for k, v in options.items()
    ]
    think = [f"--soft-think-start={THINK_START}", f"--soft-think-end={THINK_END}"]
    print(shlex.join(["python", "-m", "sglang_soft.launch_server", *flags, *think]))
    print(
        "SGLANG_PLUGINS=sglang_soft_cpu "
        + shlex.join(["python", "-m", "sglang.launch_server", *flags])
    )
    if plan.model in SHAPES:
        shape = SHAPES[plan.model]
        print(
            f"memory: weights {shape.weight_gib:.0f} GiB, cache {shape.cache_gib(plan.cache_tokens):.0f} GiB an engine"
        )


def main() -> None:
    args = arguments()
    if args.device == "cuda" and not args.dry_run and not gpus():
        raise SystemExit("no NVIDIA GPU (nvidia-smi lists none); --dry-run shows what would be run")
    sections = [machine()]
    print(sections[0])
    with tempfile.TemporaryDirectory() as scratch:
        for model in args.model:
            plan = make_plan(model, args.batches, args.tokens, args.device)
            path = SHAPES[model].write(Path(scratch) / model) if model in SHAPES else BUNDLED_MODEL
            if args.dry_run and plan.batches:
                print(f"\n{model}:")
                show(plan)
            figures = None if args.dry_run or not plan.batches else measure(plan, path, args.rounds)
            sections.append(table(plan, figures, args.rounds))
            print(f"\n{sections[-1]}", flush=True)
            if model == args.model[0] and args.methods_batch in plan.batches:
                every = (
                    None
                    if args.dry_run
                    else measure_every_method(plan, path, args.rounds, args.methods_batch)
                )
                sections.append(
                    f"**{model}**, every method, batch {args.methods_batch}:\n\n{methods_table(every)}"
                )
                print(f"\n{sections[-1]}", flush=True)
    if args.write and not args.dry_run:
        write_section(ROOT / "BENCHMARKS.md", "gpu", "\n\n".join(sections))


if __name__ == "__main__":
    main()
