"""`make bench`: what Soft Thinking costs on this machine, on the bundled model, in one run.

    python -m launch.bench.cpu
    python -m launch.bench.cpu --against PATH        this checkout against the one in PATH

Two engines are alive at once and take turns, so that noise of the machine falls on both alike: one
with the plugin, and one without it, or with the plugin of the other checkout. Parts: `throughput`
(output tokens a second, prefill included), `one-soft` (a decode step in which one request thinks
among discrete ones), `methods` (throughput of every method), `backends` (SGLang's attention on the
CPU and ours, without the plugin; where several --attention-backend are named).
"""

import argparse
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from launch import ROOT
from launch.bench.cpu_tables import ENGINE, Side, backends, every_method, one_soft, throughput
from launch.bench.hardware import machine
from launch.bench.turns import Deadline
from launch.bench.worker import Worker

PARTS = ("throughput", "one-soft", "methods", "backends")


def with_the_plugin(args: argparse.Namespace, attention_backend: str) -> None:
    """The parts that need it. The first backend gets all of them, the others `throughput` only."""
    parts = args.parts if attention_backend == args.attention_backend[0] else ["throughput"]
    known = {"throughput": throughput, "one-soft": one_soft, "methods": every_method}
    if not set(parts) & set(known) & set(args.parts):
        return
    engine = ENGINE | {"attention_backend": attention_backend}
    print(f"\n## Attention backend {attention_backend}", flush=True)
    with ExitStack() as stack:

        def side(suffix: str, plugin: bool, checkout: Path = ROOT) -> Side:
            worker = Worker(plugin=plugin, engine=engine, checkout=checkout, deadline=args.deadline)
            return Side(suffix, stack.enter_context(worker), plugin)

        sides = [side("", True)]
        if args.against:
            sides.append(side(f", {args.against}", True, args.against))
        else:
            sides.append(side(" without plugin", False))
        for started in sides:
            started.worker.ready()
        for part, measure in known.items():
            if part in args.parts and part in parts:
                measure(sides, args)
                sys.stdout.flush()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--against", type=Path, metavar="PATH", help="another checkout, such as the commit before"
    )
    parser.add_argument("--requests", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--tokens", type=int, default=64, help="default: %(default)s")
    parser.add_argument(
        "--discrete", type=int, default=63, help="discrete requests of one-soft (default: 63)"
    )
    parser.add_argument("--rounds", type=int, default=15, help="2 or more (default: %(default)s)")
    parser.add_argument("--attention-backend", nargs="+", default=["soft_cpu", "torch_native"])
    parser.add_argument(
        "--time-limit",
        type=float,
        default=float("inf"),
        metavar="SECONDS",
        help="fewer rounds where more would take longer; ends with an error where nothing helps",
    )
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error("--rounds must be 2 or more: a spread needs two")
    if args.against and not (args.against / "pyproject.toml").is_file():
        parser.error(f"--against: {args.against} is no checkout of this project")
    if len(args.attention_backend) < 2 or args.against:
        args.parts = [part for part in args.parts if part != "backends"]
    args.deadline = Deadline(args.time_limit)
    return args


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # engines end as well
    args = arguments()
    print(machine())
    try:
        for attention_backend in args.attention_backend:
            with_the_plugin(args, attention_backend)
        if "backends" in args.parts:
            backends(args)
    except RuntimeError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
