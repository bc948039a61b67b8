"""What Soft Thinking costs on a pretrained model: SmolLM2-135M (`launch/real_model.py`), on a CPU.

    python -m launch.bench.real
    python -m launch.bench.real --parts methods --batches 1 --methods soft cot

A figure is output tokens a second of decoding alone: requests all at once, of one length, and the
time of a short output taken off the time of a long one, which leaves no prefill in it. All that a
table compares takes turns, round after round. Every soft request thinks to its last token. Parts:
`methods` (every method, and weights on a grid, against discrete sampling, on one engine),
`deterministic` (an engine with --enable-deterministic-inference against one without), `loop` (one
soft request against a plain Hugging Face loop).

The tables share the time limit. Each has as many rounds as fit into its share, and says how many.
"""

import argparse
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from launch import real_model
from launch.bench.hardware import machine
from launch.bench.methods import method_names
from launch.bench.real_tables import PARTS, Plan, engine, sections
from launch.bench.turns import Deadline
from launch.bench.worker import Worker


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    names = method_names()
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    add("--batches", type=int, nargs="+", default=[1, 8, 32])
    add("--methods", nargs="+", choices=names, default=names, metavar="METHOD")
    add("--rounds", type=int, default=15, help="at most; 2 or more (default: %(default)s)")
    add("--tokens", type=int, default=24, help="output tokens measured (default: %(default)s)")
    add("--threads", type=int, default=1, help="OpenMP threads an engine (default: %(default)s)")
    add("--model", type=Path, metavar="PATH", help="another folder; default: SmolLM2, made if need")
    add(
        "--time-limit",
        type=float,
        default=2400,
        metavar="SECONDS",
        help="of all tables together, engine starts included (default: %(default)s)",
    )
    args = parser.parse_args()
    for name, least in (("rounds", 2), ("tokens", 1), ("threads", 1)):
        if getattr(args, name) < least:
            parser.error(f"--{name} must be {least} or more; got {getattr(args, name)}")
    if min(args.batches) < 1:
        parser.error(f"--batches must be 1 or more; got {min(args.batches)}")
    return args


def measure(args: argparse.Namespace) -> None:
    """Prints each table as it comes."""
    plan = Plan(args.model or real_model.path(), args.tokens, args.rounds, args.threads)
    deadline = Deadline(args.time_limit)
    with ExitStack() as stack:

        def start(deterministic: bool) -> Worker:
            worker = Worker(
                plugin=True,
                engine=engine(plan.model, max(args.batches), args.tokens, deterministic),
                env={"OMP_NUM_THREADS": str(args.threads)},
                deadline=deadline,
            )
            return stack.enter_context(worker)

        workers = [start(False)]
        if "deterministic" in args.parts:
            workers.append(start(True))
        for worker in workers:
            worker.ready()
        todo = sections(plan, workers, args.parts, args.batches, args.methods)
        left = sum(section.weight for section in todo)
        for section in todo:
            # What a table leaves of its share goes to those after it.
            share = Deadline(deadline.left * section.weight / left)
            left -= section.weight
            print(f"\n{section.measure(share)}", flush=True)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # engines end as well
    args = arguments()
    print(machine())
    try:
        measure(args)
    except RuntimeError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
