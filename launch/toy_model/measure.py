"""Measure a checkpoint on held-out problems and write the figures into its folder and its model
card.

    python -m launch.toy_model.measure sglang_soft/bundled

Cold Stop's tau and patience are chosen on the "tune" split; every figure reported is from the
"test" split.
"""

import argparse
import json
from pathlib import Path
from statistics import mean

import torch

from .decode import METHODS, ColdStop
from .scoring import Scorer, draw_problems
from .task import Problem

KINDS = ("product", "sum")
TAUS, PATIENCES = (0.05, 0.1, 0.2), (6, 8, 12, 16)
SAMPLES = {"greedy": 1, "sampled": 4, "soft": 1}
"""Runs of each test problem; soft thinking is deterministic, only its answer is sampled."""
ALLOWED_LOSS = 1.0
"""Percentage points of accuracy on the tune split that a Cold Stop setting may cost."""
MARKS = "<!-- measured: begin -->", "<!-- measured: end -->"


def choose_cold_stop(scorer: Scorer, problems: list[Problem]) -> tuple[ColdStop, list[dict]]:
    """The setting with the fewest soft thinking tokens that costs at most `ALLOWED_LOSS`, and the
    grid."""
    plain = scorer.score(problems, scorer.run(problems, "soft"))
    table = []
    for tau in TAUS:
        for patience in PATIENCES:
            figures = scorer.score(problems, scorer.run(problems, "soft", ColdStop(tau, patience)))
            table.append({"tau": tau, "patience": patience, **figures})
    allowed = [row for row in table if row["accuracy"] >= plain["accuracy"] - ALLOWED_LOSS]
    best = min(allowed or table, key=lambda row: row["thinking_tokens"])
    return ColdStop(best["tau"], best["patience"]), table


def measure(scorer: Scorer, count: int, tune: int) -> dict:
    """The chosen Cold Stop, and a row for each kind of problem, method, and Cold Stop off and
    on."""
    cold_stop, grid = choose_cold_stop(
        scorer, draw_problems("tune", dict.fromkeys(KINDS, tune), seed=1)
    )
    rows, first_steps = [], {}
    for kind in KINDS:
        problems = draw_problems("test", {kind: count}, seed=2)
        for method in METHODS:
            for stop in (None, cold_stop):
                results = scorer.run(problems, method, stop, samples=SAMPLES[method])
                figures = scorer.score(problems, results)
                rows.append(
                    {
                        "problems": kind,
                        "n": count,
                        "method": method,
                        "cold_stop": stop is not None,
                        **figures,
                    }
                )
                if method == "greedy" and stop is None:
                    first_steps[kind] = mean(group[0].entropies[0] for group in results)
    return {
        "tau": cold_stop.tau,
        "patience": cold_stop.patience,
        "first_step_entropy": first_steps,
        "test": rows,
        "tune": grid,
    }


def markdown(figures: dict) -> str:
    """The table of the model card."""
    lines = ["| problems | method | accuracy, % | thinking tokens |", "|---|---|---|---|"]
    for row in figures["test"]:
        name = row["method"] + (" + Cold Stop" if row["cold_stop"] else "")
        accuracy = f"{row['accuracy']:.1f} ± {row['accuracy_half_width']:.1f}"
        length = f"{row['thinking_tokens']:.1f} ± {row['thinking_tokens_half_width']:.1f}"
        lines.append(f"| {row['n']} {row['problems']}s | {name} | {accuracy} | {length} |")
    entropies = ", ".join(
        f"{value:.2f} ({kind}s)" for kind, value in figures["first_step_entropy"].items()
    )
    lines += [
        "",
        f"Cold Stop: tau {figures['tau']} nats, N {figures['patience']}, chosen on the tune split.",
    ]
    lines += [f"Mean entropy of the first thinking step at temperature 0.6: {entropies} nats."]
    return "\n".join(lines)


def measure_checkpoint(
    folder: Path, *, count: int = 500, tune: int = 100, device: str = "cpu"
) -> None:
    """Measure the checkpoint in `folder`; writes `measured.json` and the table of the model card
    there.

    `count` and `tune` are numbers of problems of each kind.
    """
    figures = measure(Scorer(folder, device), count, tune)
    (folder / "measured.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(markdown(figures))
    card = folder / "README.md"
    if card.exists():
        begin, end = MARKS
        before, rest = card.read_text().split(begin)
        after = rest.split(end)[1]
        card.write_text(f"{before}{begin}\n{markdown(figures)}\n{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--count", type=int, default=500, help="test problems of each kind")
    parser.add_argument("--tune", type=int, default=100, help="tune problems of each kind")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    measure_checkpoint(
        arguments.checkpoint, count=arguments.count, tune=arguments.tune, device=arguments.device
    )


if __name__ == "__main__":
    main()
