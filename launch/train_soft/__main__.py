"""Improve the bundled toy by policy gradient on its thoughts, soft and discrete, on a CPU.

    python -m launch.train_soft

It writes the figures of docs/training.md and docs/img/training.png; --no-page prints them only.

An engine rolls out, a Hugging Face model learns from the traces, its weights are saved and loaded
into the running engine, and the next step begins. It took 20 minutes on two busy cores;
`--methods multiplex` alone took 4.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from sglang_soft_evals.statistics import Estimate, bootstrap_interval, mean_estimate, sign_flip_test
from transformers.utils.logging import disable_progress_bar

from launch.bench.hardware import machine
from launch.bench.page import write_section
from launch.train_soft.picture import draw
from launch.train_soft.rollouts import METHODS
from launch.train_soft.run import Found, Plan, train
from sglang_soft.server.markdown import table
from sglang_soft.server.process import Server

DOCS = Path(__file__).parents[2] / "docs"
ARGUMENTS = ["--dtype", "float32", "--max-running-requests", "64", "--log-level", "warning"]


def _other(method: str) -> str:
    """The method that the trained weights are tried with as well."""
    return next(name for name in ("cot", "multiplex") if name != method)


def percent(of: Estimate) -> str:
    return f"{100 * of.value:.1f} ({100 * of.low:.1f} .. {100 * of.high:.1f})"


def report(plans: Mapping[str, Plan], runs: Mapping[str, Found]) -> str:
    """Figures as Markdown: accuracy before and after, and how far engine and trainer are apart."""
    rows = []
    for trained, found in runs.items():
        for thinks, values in ((trained, found.curve), (_other(trained), found.other)):
            if not values:
                continue
            before, after = (np.array(values[step]) for step in (min(values), max(values)))
            low, high = bootstrap_interval(after - before)
            rows.append(
                {
                    "trained with": f"`{trained}`",
                    "thinks with": f"`{thinks}`",
                    "before, %": percent(mean_estimate(before)),
                    "after, %": percent(mean_estimate(after)),
                    "difference, points": f"{100 * (after - before).mean():+.1f} "
                    f"({100 * low:+.1f} .. {100 * high:+.1f})",
                    "p": f"{sign_flip_test(after - before).p:.3g}",
                }
            )
    plan = next(iter(plans.values()))
    apart = max(step.apart for found in runs.values() for step in found.learned)
    seconds = ", ".join(f"{found.seconds:.0f} s ({name})" for name, found in runs.items())
    return "\n\n".join(
        [
            table(rows),
            f"{plan.held_out} held-out sums, {plan.samples} samples of each; 95% intervals over "
            f"questions (differences: paired, bootstrap; p: sign-flip test). {plan.steps} steps of "
            f"{plan.questions} questions with {plan.group} samples, AdamW at {plan.rate:g}. "
            "Largest difference of a log-probability between engine and trainer, before each "
            f"update: {apart:.1e} (of 1 + its size). Time with evaluations: {seconds}.",
            f"{machine()}.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--steps", type=int, default=36)
    parser.add_argument("--rate", type=float, default=Plan.rate)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-page", action="store_true", help="print the figures only")
    args = parser.parse_args()
    disable_progress_bar()
    plans = {name: Plan(name, args.steps, rate=args.rate, seed=args.seed) for name in args.methods}
    runs: dict[str, Found] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(ARGUMENTS, log=Path(folder, "server.log")) as server,
    ):
        for name, plan in plans.items():
            runs[name] = train(plan, server.url, Path(folder, name), _other(name))
            text = report(plans, runs)
            if not args.no_page:  # as they come: a run that is cut short leaves its figures
                draw(runs, DOCS / "img" / "training.png")
                write_section(DOCS / "training.md", "trained", text)
    print(f"\n{text}")


if __name__ == "__main__":
    main()
