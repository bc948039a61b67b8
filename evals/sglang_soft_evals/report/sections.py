"""The sections of a report after the first one: each benchmark, and the means over benchmarks."""

from math import sqrt

from sglang_soft_evals.report import plot, published, tables
from sglang_soft_evals.report.at_k import at_k
from sglang_soft_evals.report.comparisons import Comparison, compare
from sglang_soft_evals.report.document import Block, Cell, Fold, Paragraph, Section, Table
from sglang_soft_evals.report.forks import forks
from sglang_soft_evals.report.measures import Measures, measure
from sglang_soft_evals.report.numbers import NONE, interval, number, p_value, points
from sglang_soft_evals.report.pages import Pages
from sglang_soft_evals.report.per_question_changes import per_question_changes, table
from sglang_soft_evals.report.traces import Traces
from sglang_soft_evals.rundir import Run


def benchmark(
    run: Run, name: str, baseline: str, index: int, traces: Traces, pages: Pages
) -> tuple[Section, dict[str, Measures]]:
    """Result, plot and tables of one benchmark, and the measures that they show."""
    graded = run.graded(name)
    measures = {m: measure(run.of(name, m)) for m in run.methods if run.of(name, m)}
    comparisons = compare(run, name, baseline) if graded else {}
    blocks: list[Block] = [result(comparisons, measures, baseline, graded)]
    blocks.append(tables.headline(measures, comparisons, baseline))
    blocks += plot.figures(name, measures, baseline, f"plot{index}")
    blocks.append(tables.cost(measures))
    if comparisons:
        blocks.append(tables.details(comparisons, measures, baseline))
    if graded:
        blocks += [t for kind in ("pass", "majority") if (t := at_k(run, name, kind))]
        blocks += [t for t in [forks(run, name)] if t]
    if rows := published.published_for(name):
        model = str((run.info.get("provenance") or {}).get("model", "not stated"))
        blocks.append(tables.published(rows, measures, name, model, int(run.info["samples"])))
    for method in comparisons:
        changes = per_question_changes(run, name, baseline, method)
        traces.add(
            record for change in changes.shown for record in (change.baseline, change.method)
        )
        title = (
            f"{method} compared with {baseline}, question by question: {changes.better:,} better, "
            f"{changes.worse:,} worse, {changes.equal:,} equal; largest gains and losses"
        )
        if changes.shown:
            shown = table(changes.shown, traces.anchors, pages, baseline, method)
            blocks.append(Fold(title, shown))
    return Section(f"benchmark-{index}", name, blocks), measures


def result(
    comparisons: dict[str, Comparison], measures: dict[str, Measures], baseline: str, graded: bool
) -> Paragraph:
    """The outcome in words; a difference that may be chance is not called one."""
    if not graded:
        text = "Answers of this benchmark are not graded yet, so there is no accuracy to compare."
        return Paragraph(text, warning=True)
    if baseline in measures and measures[baseline].all_failed:
        failed = "every request" if not measures[baseline].unscored else "every answer"
        text = f"There is no comparison: {failed} of the baseline {baseline} failed."
        return Paragraph(text, warning=True)
    if not comparisons:
        return Paragraph(f"There is no method to compare with {baseline} yet.")
    told = []
    for verdict, words in (("higher", "More accurate than"), ("lower", "Less accurate than")):
        found = [c for c in comparisons.values() if c.verdict == verdict]
        each = "; ".join(
            f"{c.method} {points(c.difference, c.low, c.high)} points (Holm p {p_value(c.p_holm)})"
            for c in found
        )
        told.append(f"{words} {baseline}: {each or 'none'}.")
    rest = [c.method for c in comparisons.values() if c.verdict.startswith("not")]
    told.append(f"Not distinguishable from {baseline}: {', '.join(rest) or 'none'}.")
    return Paragraph(" ".join(told))


def means(of: dict[str, dict[str, Measures]]) -> Section:
    """Accuracy and tokens averaged over the benchmarks, for methods that have all of them."""
    methods = dict.fromkeys(m for measures in of.values() for m in measures)
    rows: list[dict[str, Cell]] = []
    for method in methods:
        found = [m[method] for m in of.values() if method in m]
        accuracies = [f.accuracy for f in found if f.accuracy]
        if len(accuracies) < len(of):
            accuracy, tokens = f"only {len(accuracies)} of {len(of)} benchmarks", NONE
        else:
            mean = 100 * sum(a.value for a in accuracies) / len(of)
            half = 196 * sqrt(sum(a.se**2 for a in accuracies)) / len(of)
            accuracy = f"{mean:.1f} {interval(mean - half, mean + half)}"
            tokens = number(sum(f.tokens.value for f in found if f.tokens) / len(of))
        rows.append({"method": method, "accuracy, %": accuracy, "tokens": tokens})
    note = "Each benchmark counts the same. Normal 95% intervals from the errors of the benchmarks."
    return Section("means", "Mean over benchmarks", [Table(rows, note)])


def published_means() -> Section:
    """Published averages over several benchmarks, by which some methods are known."""
    table = tables.published(published.published_means(), {}, "", "", 0)
    return Section("published", "Published means", [table])
