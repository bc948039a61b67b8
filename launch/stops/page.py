"""The figures of docs/stops.md, from a finished run."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sglang_soft_evals.report import entropy, stopping_plot, stopping_section, stopping_tables
from sglang_soft_evals.report.comparisons import pick_baseline
from sglang_soft_evals.report.document import Table
from sglang_soft_evals.report.plot import STYLE
from sglang_soft_evals.rundir import Run, load
from sglang_soft_evals.stop_rules import rule_of

from launch import ROOT

IMG = ROOT / "docs" / "img"
INK = "#000000"
PNG: Any = {key: value for key, value in STYLE.items() if not key.endswith("color")}


def figures(run: Run) -> dict[str, Any]:
    """Tables as rows of text, and the points of the pictures."""
    (benchmark,) = run.benchmarks
    cot = pick_baseline(run, None)
    found = stopping_section.Results(run, benchmark, cot)
    looks = [
        one
        for name, params in run.methods.items()
        if rule_of(params) is None
        for one in entropy.look(name, run.of(benchmark, name))
    ]
    tables = {
        "accuracy": stopping_tables.accuracy(found.groups, found.measures),
        "compared": stopping_tables.compared(found.groups, found.differences),
        **dict(zip(("points", "tokens"), stopping_tables.parts(found.parts, cot), strict=False)),
        **({"entropy": entropy.table(looks)} if looks else {}),
    }
    return {
        "run": {"text": told(run, benchmark)},
        "notes": stopping_section.warnings(run, benchmark),
        "tables": {name: _plain(table) for name, table in tables.items()},
        "spots": [spot._asdict() for spot in found.spots],
        "entropy": entropy.to_json(looks),
    }


def told(run: Run, benchmark: str) -> str:
    """What was run, in words."""
    info, known = run.info, run.info.get("provenance") or {}
    model = Path(str(known.get("model"))).name  # a folder is this machine's business
    records = [r for name in (*run.methods, *run.run_controls) for r in run.records(name)]
    versions = known.get("versions") or {}
    state = "complete" if info.get("complete") else "**not complete**"
    return (
        f"{model}, `{benchmark}`: {info['questions']:,} questions x {info['samples']} "
        f"samples, {len(run.methods)} methods and {len(run.run_controls)} controls; "
        f"{len(records):,} answers, {sum(r.failed for r in records):,} failed; {state}. "
        f"{known.get('hardware')}, sglang {versions.get('sglang')}, torch {versions.get('torch')}, "
        f"commit {str(known.get('commit'))[:7]}, {info.get('wall_s', 0) / 60:.0f} minutes."
    )


def _plain(table: Table) -> dict[str, Any]:
    return {"rows": table.rows, "note": table.note}


def write(out: Path, img: Path = IMG, name: str = "stops") -> list[Path]:
    """Write NAME.json, NAME.png and NAME-entropy.png; returns their paths. Raises ValueError: not a
    run of one benchmark with answers."""
    run = load(out)
    if len(run.benchmarks) != 1:
        raise ValueError(f"{out} holds answers of {len(run.benchmarks)} benchmarks, not of one.")
    values = figures(run)
    img.mkdir(parents=True, exist_ok=True)
    paths = [img / f"{name}.json", img / f"{name}.png", img / f"{name}-entropy.png"]
    paths[0].write_text(json.dumps(values, indent=1) + "\n")
    draw(values, *paths[1:])
    return paths


def draw(values: dict[str, Any], accuracy: Path, entropies: Path) -> None:
    """Both pictures, from what a JSON file holds."""
    with mpl.rc_context(PNG):
        spots = [stopping_plot.Spot(**spot) for spot in values["spots"]]
        _save(stopping_plot.panels(spots, INK), accuracy)
        if values["entropy"]:
            _save(entropy.draw(values["entropy"], INK), entropies)


def _save(figure: Figure, file: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(file, dpi=120, facecolor="white", metadata={"Software": None})
