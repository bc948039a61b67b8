"""The first section of a report: how much of the run is there, and what went wrong."""

from collections import Counter

from sglang_soft_evals import mixing
from sglang_soft_evals.record import failed_methods
from sglang_soft_evals.report.document import Block, Cell, Paragraph, Table
from sglang_soft_evals.report.numbers import number, share
from sglang_soft_evals.rundir import Run


def blocks(run: Run) -> list[Block]:
    """A partial run says so first; then the errors."""
    return [*_progress(run), *_errors(run)]


def _progress(run: Run) -> list[Block]:
    have = {method: run.records(method) for method in (*run.methods, *run.run_controls)}
    total, expected = sum(map(len, have.values())), run.expected * len(have)
    samples = f"{run.info['samples']:,} sample{'s' if run.info['samples'] != 1 else ''}"
    controls = f" and {len(run.run_controls)} controls" if run.run_controls else ""
    plan = f"{len(run.methods)} methods{controls} x {run.info['questions']:,} questions x {samples}"
    if total == expected and not run.torn:
        return [Paragraph(f"Complete: all {total:,} answers of {plan} are here.")]
    warning = (
        f"PARTIAL RUN: {total:,} of the {expected:,} answers of {plan} are here. The missing ones "
        "are not a random choice (long answers come late), so every number below may still change "
        "in either direction."
    )
    if run.torn:
        warning += " The last line of the file was cut off while it was written and is not counted."
    rows = []
    for method, records in have.items():
        truncated = sum(r.status == "truncated" for r in records)
        row: dict[str, Cell] = {
            "method": method,
            "answers": number(len(records)),
            "expected": number(run.expected),
            "questions seen": number(len({(r.benchmark, r.question) for r in records})),
            "truncated": share(truncated, len(records)),
            "failed": share(sum(r.failed for r in records), len(records)),
        }
        rows.append(row)
    return [Paragraph(warning, warning=True), Table(rows)]


def _errors(run: Run) -> list[Block]:
    found: list[Block] = []
    for benchmark in run.benchmarks:
        names = (*run.methods, *run.run_controls)
        groups = {method: run.of(benchmark, method) for method in names}
        records = {m: [r for rs in g.values() for r in rs] for m, g in groups.items()}
        failed = failed_methods(r for rs in records.values() for r in rs)
        for method, error in failed.items():
            none = all(r.failed for r in records[method])
            what = "every request of" if none else "no answer has a verdict:"
            failed_text = " failed" if none else ""
            text = f"ERROR: {what} {method} on {benchmark}{failed_text} ({error}). "
            found.append(Paragraph(f"{text}It has no score and is not compared.", warning=True))
        for method, mine in records.items():
            if unmixed := mixing.warning(mine):
                found.append(Paragraph(f"{method} on {benchmark} {unmixed}.", warning=True))
            errors = Counter(r.error for r in mine if r.error and not r.failed)
            if errors and method not in failed:
                text = (
                    f"{errors.total():,} answers of {method} on {benchmark} count as wrong because "
                    f"the grader has no verdict (most often: {errors.most_common(1)[0][0]})."
                )
                found.append(Paragraph(text, warning=True))
    return found
