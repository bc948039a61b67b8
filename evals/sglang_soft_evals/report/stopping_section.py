"""The sections on stop rules and on entropy of a report."""

import io
from collections.abc import Callable

import matplotlib as mpl
from matplotlib.figure import Figure

from sglang_soft_evals.report import document, entropy, stopping, stopping_plot, stopping_tables
from sglang_soft_evals.report.document import Block, Paragraph, Section
from sglang_soft_evals.report.measures import Measures, Questions, measure
from sglang_soft_evals.report.plot import INK, STYLE, inline
from sglang_soft_evals.rundir import Run
from sglang_soft_evals.stop_rules import rule_of

_CAPTION = """\
Accuracy against tokens of an answer, thinking and answer together, on {benchmark}. Star: no rule.
Filled: a rule. Hollow: its budget control; small and hollow: its random stop. Bars: 95% intervals
by question. Dashed: the Pareto front of everything in the panel."""
_ENTROPY = """\
Accuracy of fifths of the thoughts by their entropy, at the end (left) and mean (right), on
{benchmark}. Bars: 95% intervals by question."""


class Results:
    """The numbers of the section on one benchmark."""

    def __init__(self, run: Run, benchmark: str, baseline: str) -> None:
        self.groups = stopping.groups(run)
        self.cot = baseline
        variants = [v for group in self.groups for v in group.variants]
        plain = {v.name: group.plain for group in self.groups for v in group.variants}
        names = [*plain.values(), *plain, *(c for v in variants for c in v.controls.values() if c)]
        of = {name: run.of(benchmark, name) for name in names}
        self.of: dict[str, Questions] = {name: found for name, found in of.items() if found}
        self.measures: dict[str, Measures] = {n: measure(found) for n, found in self.of.items()}
        pairs: dict[str, dict[str, tuple[str, str]]] = {
            "no rule": {name: (name, other) for name, other in plain.items()}
        }
        for kind in ("budget", "random"):
            controls = {v.name: v.controls[kind] for v in variants}
            pairs[kind] = {name: (name, c) for name, c in controls.items() if c}
        self.differences = {
            other: stopping.differences(self.of, named) for other, named in pairs.items() if named
        }
        self.parts = stopping.decompositions(self.of, self.groups, baseline)
        self.spots = stopping_plot.spots(self.groups, self.measures)


def stop_rules(run: Run, benchmark: str, baseline: str, index: int) -> Section | None:
    """None if no method of the run differs from another in its stop rule alone."""
    if not stopping.groups(run):
        return None
    blocks: list[Block] = [Paragraph(text, warning=True) for text in warnings(run, benchmark)]
    title = f"Stopping: {benchmark}"
    if not run.graded(benchmark):
        blocks.append(Paragraph("Some answers have no verdict yet: rules are not compared."))
        return Section(f"stopping-{index}", title, blocks)
    found = Results(run, benchmark, baseline)
    blocks.append(stopping_tables.accuracy(found.groups, found.measures))
    if found.spots:
        caption = " ".join(_CAPTION.format(benchmark=benchmark).split())
        blocks.append(
            _figure(lambda: stopping_plot.panels(found.spots, INK), f"stop{index}", caption)
        )
    blocks.append(stopping_tables.compared(found.groups, found.differences))
    parts = stopping_tables.parts(found.parts, baseline)
    blocks += parts or [
        Paragraph(
            f"No decomposition: {baseline} and another method must both be in the run, without a "
            "rule and with the same one."
        )
    ]
    return Section(f"stopping-{index}", title, blocks)


def warnings(run: Run, benchmark: str) -> list[str]:
    """What is missing of the controls."""
    found = []
    for name, facts in run.controls.items():
        if why := facts.get("not_run"):
            found.append(f"{name} was not run: {why}.")
            continue
        records = [r for rs in run.of(benchmark, name).values() for r in rs]
        if len(records) < run.expected:
            found.append(
                f"PARTIAL CONTROL: {len(records):,} of {run.expected:,} answers of {name}."
            )
        if failed := sum(r.failed for r in records):
            found.append(f"{failed:,} requests of {name} failed and count as wrong.")
        if left := facts.get("left_out"):
            found.append(
                f"{name} was made without {left:,} samples that failed with the rule or without it."
            )
    if (run.info.get("config") or {}).get("controls") and not run.controls:
        found.append("The controls are not made yet: they need every sample of the methods.")
    return found


def entropies(run: Run, benchmark: str, index: int) -> Section | None:
    """None if no record has the entropy at the end of its thought."""
    found = [
        one
        for name, params in run.methods.items()
        if rule_of(params) is None
        for one in entropy.look(name, run.of(benchmark, name))
    ]
    if not any(one.kind == "final_entropy" for one in found):
        return None
    caption = " ".join(_ENTROPY.format(benchmark=benchmark).split())
    values = entropy.to_json(found)
    drawing = _figure(lambda: entropy.draw(values, INK), f"entropy{index}", caption)
    title = f"Entropy and errors: {benchmark}"
    return Section(f"entropy-{index}", title, [entropy.table(found), drawing])


def _figure(make: Callable[[], Figure], name: str, caption: str) -> document.Figure:
    with mpl.rc_context(STYLE):
        out = io.StringIO()
        make().savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return document.Figure(inline(out.getvalue(), name), caption)
