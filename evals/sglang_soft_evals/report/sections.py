"""The sections of a report: what came of the run, each benchmark, traces."""

from math import sqrt

from sglang_soft_evals.report import movers, published, tables
from sglang_soft_evals.report.comparisons import Comparison, compare
from sglang_soft_evals.report.document import Block, Cell, Figure, Fold, Paragraph, Section, Table
from sglang_soft_evals.report.measures import Measures, measure
from sglang_soft_evals.report.numbers import interval, number, p_value, points, share
from sglang_soft_evals.report.pareto import Point, crowd, front, plot
from sglang_soft_evals.report.records import Run
from sglang_soft_evals.report.traces import Traces
from sglang_soft_evals.statistics import Estimate


def progress(run: Run) -> list[Block]:
    """How much of the run is there. A partial one says so in its first line."""
    have = {method: run.records(method) for method in run.methods}
    total, expected = sum(map(len, have.values())), run.expected * len(have)
    samples = f"{run.info['samples']:,} sample{'s' if run.info['samples'] != 1 else ''}"
    plan = f"{len(have)} methods x {run.info['questions']:,} questions x {samples}"
    if total == expected and not run.torn:
        return [Paragraph(f"Complete: all {total:,} answers of {plan} are here.")]
    torn = (
        " The last line of the file was cut off while it was written and is not counted."
        if run.torn
        else ""
    )
    warning = (
        f"PARTIAL RUN: {total:,} of the {expected:,} answers of {plan} are here. What is missing is not a random part "
        f"(long answers come late), so every number below may still move in either direction.{torn}"
    )
    rows: list[list[Cell]] = []
    for method, records in have.items():
        questions = {(r.benchmark, r.question) for r in records}
        failed, truncated = (
            sum(r.failed for r in records),
            sum(r.status == "truncated" for r in records),
        )
        counts = [number(len(records)), number(run.expected), number(len(questions))]
        rows.append([method, *counts, share(truncated, len(records)), share(failed, len(records))])
    header = ["method", "answers", "expected", "questions seen", "truncated", "failed"]
    return [Paragraph(warning, warning=True), Table(header, rows)]


def benchmark(
    run: Run, name: str, baseline: str, number_: int, traces: Traces
) -> tuple[Section, dict[str, Measures]]:
    """Result, plot and tables of one benchmark, and the measures they rest on."""
    measures = {m: measure(run.of(name, m)) for m in run.methods if run.of(name, m)}
    comparisons = compare(run, name, baseline) if run.graded(name) else {}
    blocks: list[Block] = [result(comparisons, baseline, run.graded(name))]
    blocks.append(tables.headline(measures, comparisons, baseline))
    blocks += _plots(name, measures, baseline, f"plot{number_}")
    blocks += [tables.cost(measures)]
    if comparisons:
        blocks.append(tables.details(comparisons, measures, baseline))
    if run.graded(name):
        blocks += [
            table for kind in ("pass", "majority") if (table := tables.at_k(run, name, kind))
        ]
    if rows := published.published_for(name):
        model = str((run.info.get("provenance") or {}).get("model", "not stated"))
        blocks.append(tables.published(rows, measures, name, model, int(run.info["samples"])))
    for method in comparisons:
        moved = movers.moves(run, name, baseline, method)
        traces.add(record for move in moved.shown for record in (move.baseline, move.method))
        title = (
            f"{method} against {baseline}, question by question: {moved.better:,} better, {moved.worse:,} worse, "
            f"{moved.equal:,} equal; best gains and worst regressions"
        )
        if moved.shown:
            blocks.append(Fold(title, tables.movers(moved.shown, traces.anchors, baseline, method)))
    return Section(f"benchmark-{number_}", name, blocks), measures


def _plots(benchmark: str, measures: dict[str, Measures], baseline: str, name: str) -> list[Block]:
    """Accuracy against tokens; a second time and closer where methods far off press the others
    together."""
    spots = [
        Point(m, v.tokens, Estimate(*(100 * x for x in v.accuracy)))
        for m, v in measures.items()
        if v.tokens and v.accuracy
    ]
    if not spots:
        return []
    caption = (
        f"Accuracy against tokens on {benchmark}. Bars: 95% intervals by question. Dashed line and filled marks: the "
        f"Pareto front of the observed means ({', '.join(p.name for p in front(spots))}); no other method has as few "
        f"tokens and as high an accuracy. Star: {baseline}."
    )
    near = crowd(spots, baseline)
    if not 2 <= len(near) < len(spots):
        return [Figure(plot(spots, spots, spots, baseline, name), caption)]
    far = [p for p in spots if p not in near]
    closer = f"The same, closer, without {', '.join(p.name for p in far)}."
    return [
        Figure(
            plot(spots, spots, far, baseline, name),
            f"{caption} The crowded marks are named in the next plot.",
        ),
        Figure(plot(spots, near, near, baseline, f"{name}-near"), closer),
    ]


def result(comparisons: dict[str, Comparison], baseline: str, graded: bool) -> Paragraph:
    """The outcome in words; a difference that may be chance is never called one."""
    if not graded:
        return Paragraph(
            "Answers of this benchmark are not graded yet, so there is no accuracy to compare.",
            warning=True,
        )
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
    """Accuracy and tokens averaged over benchmarks that have every method's numbers."""
    methods = dict.fromkeys(m for measures in of.values() for m in measures)
    rows: list[list[Cell]] = []
    for method in methods:
        found = [m[method] for m in of.values() if method in m]
        accuracies = [f.accuracy for f in found if f.accuracy]
        if len(accuracies) < len(of):
            rows.append([method, f"only {len(accuracies)} of {len(of)} benchmarks", "-"])
            continue
        mean = 100 * sum(a.value for a in accuracies) / len(of)
        half = 196 * sqrt(sum(a.se**2 for a in accuracies)) / len(of)
        tokens = sum(f.tokens.value for f in found if f.tokens) / len(of)
        rows.append([method, f"{mean:.1f} {interval(mean - half, mean + half)}", number(tokens)])
    note = "Each benchmark counts the same. Normal 95% intervals from the errors of the benchmarks."
    return Section(
        "means", "Mean over benchmarks", [Table(["method", "accuracy, %", "tokens"], rows, note)]
    )


def published_means() -> Section:
    """Published averages over several benchmarks, for the reader who knows a method by them."""
    return Section(
        "published",
        "Published means",
        [tables.published(published.published_means(), {}, "", "", 0)],
    )
