"""`make bench-gpu`: soft against discrete against no plugin, at the shapes of real models, with
random weights.

    python -m launch.bench.gpu                   on a CUDA machine; --quick: minutes
    python -m launch.bench.gpu --out FILE        write the tables as they come, into the section
                                                 `gpu` of FILE or a new file
    python -m launch.bench.gpu --dry-run         anywhere: what would be run, and empty tables
    python -m launch.bench.gpu --model bundled --device cpu --small     anywhere: does it run?

Nothing is downloaded. A figure is output tokens a second of decoding alone: requests all at once,
of one length, and the time of a short output taken off the time of a long one, which leaves no
prefill in it. Soft and discrete take turns on one engine, with the same prompts; the engine without
the plugin takes turns with it where memory holds both, else it runs after it, and the table says
so. `one soft`: one request of the batch thinks, the others are discrete. Random weights give a
nearly flat distribution: every concept token has all its k entries in use, the dearest case for the
mixture.
"""

import argparse
import shlex
import signal
import sys
import tempfile
from pathlib import Path

from launch import BUNDLED_MODEL, ROOT
from launch.bench.gpu_tables import measure, measure_every_method, table
from launch.bench.hardware import gpus, machine
from launch.bench.methods import empty_table
from launch.bench.page import Page
from launch.bench.plan import Plan, make_plan
from launch.bench.shapes import SHAPES, THINK_END, THINK_START
from launch.bench.turns import Deadline


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    models = [*SHAPES, "bundled"]
    add("--model", action="append", choices=models, help="default: " + ", ".join(SHAPES))
    add("--device", choices=["cuda", "cpu"], default="cuda")
    add("--attention-backend", default="flashinfer", help="on CUDA (default: %(default)s)")
    add("--parts", nargs="+", choices=["batches", "methods"], default=["batches", "methods"])
    add("--batches", type=int, nargs="+", default=[1, 8, 64, 256])
    add("--tokens", type=int, default=256, help="output tokens measured (default: %(default)s)")
    add("--rounds", type=int, default=5, help="2 or more (default: %(default)s)")
    add(
        "--methods-batch",
        type=int,
        default=64,
        help="batch at which every method is measured, on the first model (default: %(default)s)",
    )
    add("--quick", action="store_true", help="Qwen3-8B, batch 1 and 64, 128 tokens, 3 rounds")
    add("--small", action="store_true", help="batch 1 and 3, 8 tokens, 2 rounds: does it run?")
    add("--out", type=Path, metavar="FILE", help="write the tables there, each as it comes")
    add(
        "--time-limit",
        type=float,
        default=float("inf"),
        metavar="SECONDS",
        help="fewer rounds where more would take longer; what is measured by then is written",
    )
    add("--dry-run", action="store_true", help="print what would be run, start nothing")
    args = parser.parse_args()
    args.model = args.model or (["qwen3-8b"] if args.quick else list(SHAPES))
    if args.quick:
        args.batches, args.tokens, args.rounds, args.parts = [1, 64], 128, 3, ["batches"]
    if args.small:
        args.batches, args.tokens, args.rounds, args.methods_batch = [1, 3], 8, 2, 3
    if args.rounds < 2:
        parser.error("--rounds must be 2 or more: a spread needs two")
    if "batches" not in args.parts:
        args.batches, args.model = [args.methods_batch], args.model[:1]
    args.deadline = Deadline(args.time_limit)
    return args


def show(plan: Plan) -> None:
    """The engines that would be measured, as the commands of the servers that equal them."""
    path = BUNDLED_MODEL.relative_to(ROOT)
    if plan.model in SHAPES:
        path = Path("build/shapes") / plan.model
        print(shlex.join(["python", "-m", "launch.bench.shapes", plan.model, str(path)]))
    options = plan.engine(path)
    flags = [
        f"--{k.replace('_', '-')}" + ("" if v is True else f"={v}") for k, v in options.items()
    ]
    think = [f"--soft-think-start={THINK_START}", f"--soft-think-end={THINK_END}"]
    print(shlex.join(["python", "-m", "sglang_soft.launch_server", *flags, *think]))
    plain = shlex.join(["python", "-m", "sglang.launch_server", *flags])
    print(f"SGLANG_PLUGINS=sglang_soft_cpu {plain}")
    if plan.model in SHAPES:
        shape = SHAPES[plan.model]
        weights, cache = shape.weight_gib, shape.cache_gib(plan.cache_tokens)
        print(f"memory: weights {weights:.0f} GiB, cache {cache:.0f} GiB an engine")


def run(args: argparse.Namespace, page: Page, scratch: Path) -> None:
    for model in args.model:
        plan = make_plan(model, args.batches, args.tokens, args.device, args.attention_backend)
        path = SHAPES[model].write(scratch / model) if model in SHAPES else BUNDLED_MODEL
        if args.dry_run and plan.batches:
            print(f"\n{model}:")
            show(plan)
        if "batches" in args.parts:
            page.add(table(plan, {}, args.rounds), quiet=bool(plan.batches) and not args.dry_run)
            if plan.batches and not args.dry_run:
                measure(
                    plan, path, args.rounds, args.deadline,
                    lambda found, plan=plan: page.replace(table(plan, found, args.rounds)),
                )  # fmt: skip
        batch = args.methods_batch
        if model == args.model[0] and "methods" in args.parts and batch in plan.batches:
            every = (
                empty_table()
                if args.dry_run
                else measure_every_method(plan, path, args.rounds, batch, args.deadline)
            )
            page.add(f"**{model}**, every method, batch {batch}:\n\n{every}")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # engines end as well
    args = arguments()
    if args.device == "cuda" and not args.dry_run and not gpus():
        raise SystemExit("no NVIDIA GPU (nvidia-smi lists none); --dry-run shows what would be run")
    page = Page(None if args.dry_run else args.out)
    page.add(machine())
    try:
        with tempfile.TemporaryDirectory() as scratch:
            run(args, page, Path(scratch))
    except RuntimeError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
