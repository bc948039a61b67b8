"""`make chaos`: how an error of 1e-6 in one input embedding grows over a thought, by method.

    python -m launch.exact.chaos [--model toy|smollm2] [--steps N] [--prompts N] [--out FOLDER]

Each prompt is decoded twice in float64, by every method, in one batch. In the second run the input
embedding of thinking step 0 is moved by 1e-6 of its norm, and both runs draw with the same seeds.
What is compared are the logits after each step. A thought cannot end: think-end and end of sequence
have no probability. Model and mixtures are float64. The plugin's steps are float32, as in an
engine: equal runs stay equal, but a difference of two weights is known to about 1e-7 only.

A second table has no disturbance: the same thoughts in float32 and bfloat16, against float64.

The figures go to chaos.json and the picture to chaos.png. With --model the other model's figures
stay as they are.
"""

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launch import ROOT
from launch.bench.hardware import machine
from launch.bench.turns import markdown
from launch.exact.configurations import PROMPTS, configurations, path
from launch.exact.measure import LARGE, SIZE, Measured, Parting, measure
from launch.exact.picture import draw

STEPS = 200
FIGURES, PICTURE = "chaos.json", "chaos.png"
DTYPES = ("float32", "bfloat16")
NEVER = float("inf")


def summary(parting: Parting) -> dict[str, Any]:
    """What is kept of one configuration: the quartiles over prompts, three digits each."""
    columns = list(zip(*parting.errors, strict=True))
    quartiles = [_quartiles(column) for column in columns]
    marks = range(0, len(columns), max(1, (len(columns) - 1) // 4))
    return {
        "median": [_short(q[1]) for q in quartiles],
        "quartiles": {n: [_short(quartiles[n][0]), _short(quartiles[n][2])] for n in marks},
        "beyond": parting.beyond,
        "token": parting.tokens,
    }


def _quartiles(values: Sequence[float]) -> list[float]:
    if len(values) == 1:
        return [*values] * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def figures(measured: Measured, steps: int, questions: Sequence[str]) -> dict[str, Any]:
    """Of one model."""
    return {
        "machine": machine(),
        "seconds": round(measured.seconds),
        "steps": steps,
        "prompts": list(questions),
        "disturbed": {name: summary(p) for name, p in measured.disturbed.items()},
        "rounded": {
            dtype: {
                name: {"beyond": p.beyond, "token": p.tokens} for name, p in found.items()
            }
            for dtype, found in measured.rounded.items()
        },
    }  # fmt: skip


def spread(steps: Sequence[int | None]) -> str:
    """Median (smallest .. largest) of steps, of which None never came."""
    values = sorted(NEVER if step is None else step for step in steps)
    low, middle, high = (_step(v) for v in (values[0], statistics.median(values), values[-1]))
    return low if low == high else f"{middle} ({low} .. {high})"


def _step(value: float) -> str:
    return "never" if value == NEVER else f"{value:g}"


def disturbed_table(found: Mapping[str, Any]) -> str:
    """Markdown. found: `figures` of one model."""
    steps, prompts = found["steps"], len(found["prompts"])
    marks = (0, steps // 4, steps)
    header = [
        "configuration", *(f"step {n}" for n in marks),
        f"another token within {steps} steps", f"first step beyond {LARGE:g}",
    ]  # fmt: skip
    rows = []
    for name, one in found["disturbed"].items():
        errors = [f"{one['median'][n]:.1e}" for n in marks]
        others = sum(token is not None for token in one["token"])
        rows.append([name, *errors, f"{others} of {prompts}", spread(one["beyond"])])
    return markdown(header, rows)


def rounded_table(found: Mapping[str, Any]) -> str:
    """Markdown. found: `figures` of one model."""
    header = ["configuration"]
    rows: dict[str, list[str]] = {}
    for dtype, by_name in found["rounded"].items():
        header += [f"{dtype}: first step beyond {LARGE:g}", f"{dtype}: first other token"]
        for name, one in by_name.items():
            cells = rows.setdefault(name, [name])
            cells += [spread(one["beyond"]), spread(one["token"])]
    return markdown(header, list(rows.values()))


def page(name: str, found: Mapping[str, Any]) -> str:
    """What is printed of one model."""
    parts = [
        f"## {name}: {len(found['prompts'])} prompts, {found['steps']} steps, {found['seconds']} s",
        found["machine"],
        f"One input disturbed by {SIZE:g}: median relative difference of the logits after a step",
        disturbed_table(found),
    ]
    if found["rounded"]:
        parts += ["Other precisions against float64: first step, median (min .. max)"]
        parts += [rounded_table(found)]
    return "\n\n".join(parts)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m launch.exact.chaos", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--model", choices=PROMPTS, help="default: both")
    parser.add_argument("--steps", type=int, default=STEPS, help="%(default)s")
    parser.add_argument("--prompts", type=int, default=8, help="at most %(default)s")
    parser.add_argument(
        "--dtypes", nargs="*", default=DTYPES, metavar="DTYPE",
        help="precisions of the second table; none: no such table (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "img", help="%(default)s")
    args = parser.parse_args(argv)
    if args.steps < 1 or not 1 <= args.prompts <= 8:
        parser.error("--steps is at least 1, --prompts 1 to 8.")
    began = time.perf_counter()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / FIGURES
    found = json.loads(file.read_text()) if args.model and file.exists() else {}
    for name in [args.model] if args.model else PROMPTS:
        questions = PROMPTS[name][: args.prompts]
        try:
            measured = measure(path(name), configurations(), questions, args.steps, args.dtypes)
        except RuntimeError as error:
            raise SystemExit(f"error: {error}") from error
        found[name] = figures(measured, args.steps, questions)
        print(page(name, found[name]) + "\n", flush=True)
    found = {name: found[name] for name in PROMPTS if name in found}
    file.write_text(json.dumps(found, separators=(",", ":")) + "\n")
    draw(found, args.out / PICTURE)
    print(f"{time.perf_counter() - began:.0f} s; wrote {FIGURES} and {PICTURE}")


if __name__ == "__main__":
    main()
