"""Which parameters a rule gets, by 100 questions that are no part of the run."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from sglang_soft_evals import arith, stop_rules
from sglang_soft_evals.report.measures import measure
from sglang_soft_evals.rundir import Run, load

from sglang_soft.server.markdown import table

QUESTIONS, SEED = 100, 1
RUN_QUESTIONS, RUN_SEED = 500, 0
"""Of evals/runs/stops.toml, whose questions are left out."""
LOSS = 1.0
"""Points of accuracy that a chosen setting may lose, as the mean over the methods."""
FILE = "stops-choice.json"


class Setting(NamedTuple):
    """One rule with parameters, as the mean over the methods of the run."""

    rule: dict[str, Any]
    accuracy: float
    """In percent; `lost` in points, against no rule."""
    lost: float
    tokens: float
    """Thinking tokens of an answer."""


def questions(file: Path) -> Path:
    """Write the questions of the choice: held-out ones that the run does not ask."""
    asked = {problem.expression for problem in arith.draw(RUN_QUESTIONS, RUN_SEED)}
    drawn = [p for p in arith.draw(RUN_QUESTIONS, SEED) if p.expression not in asked]
    rows = [
        {"id": p.expression, "question": f"What is {p.expression}?", "answer": str(p.answer)}
        for p in drawn[:QUESTIONS]
    ]
    assert len(rows) == QUESTIONS
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def settings(run: Run) -> list[Setting]:
    """Every rule of the run. Raises ValueError if a method has it and another has not."""
    (benchmark,) = run.benchmarks
    by_rule: dict[str, dict[str, tuple[float, float]]] = {}
    for name, params in run.methods.items():
        found = measure(run.of(benchmark, name))
        if found.accuracy is None:
            raise ValueError(f"{name} has no score: {found.no_accuracy}.")
        rule = json.dumps(stop_rules.rule_of(params))
        plain = json.dumps(stop_rules.without_rule(params), sort_keys=True)
        by_rule.setdefault(rule, {})[plain] = (100 * found.accuracy.value, found.thinking)
    none = by_rule.pop(json.dumps(None))
    rows = []
    for rule, of in by_rule.items():
        if of.keys() != none.keys():
            raise ValueError(f"the rule {rule} is not there for every method")
        accuracy, tokens = (sum(v[i] for v in of.values()) / len(of) for i in (0, 1))
        plain_accuracy = sum(v[0] for v in none.values()) / len(none)
        rows.append(Setting(json.loads(rule), accuracy, plain_accuracy - accuracy, tokens))
    return rows


def chosen(found: list[Setting]) -> dict[str, Setting]:
    """By rule: of the settings that lose at most LOSS the one with the fewest tokens; if all lose
    more, the one that loses least."""
    best: dict[str, Setting] = {}
    for name in dict.fromkeys(setting.rule["rule"] for setting in found):
        mine = [s for s in found if s.rule["rule"] == name]
        good = [s for s in mine if s.lost <= LOSS + 1e-9]
        best[name] = min(good, key=lambda s: s.tokens) if good else min(mine, key=lambda s: s.lost)
    return best


def rows(found: list[Setting]) -> list[dict[str, str]]:
    """The table of the page."""
    best = chosen(found)
    return [
        {
            "rule": f"`{s.rule['rule']}`",
            "parameters": ", ".join(f"{k} {v}" for k, v in s.rule.items() if k != "rule") or "-",
            "accuracy, %": f"{s.accuracy:.1f}",
            "thinking tokens": f"{s.tokens:.1f}",
            "": "chosen" if s == best[s.rule["rule"]] else "",
        }
        for s in found
    ]


def write(out: Path, img: Path) -> str:
    """Write FILE from a run directory; returns the table. Raises ValueError: not a complete run."""
    run = load(out)
    if not run.info.get("complete"):
        raise ValueError(f"{out} is not complete; run it again to go on.")
    found = settings(run)
    values = {
        "rows": rows(found),
        "chosen": {name: setting.rule for name, setting in chosen(found).items()},
    }
    (img / FILE).write_text(json.dumps(values, indent=1) + "\n")
    return table(values["rows"])
