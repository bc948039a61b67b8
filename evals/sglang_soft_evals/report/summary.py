"""The first section of a report: how much of the run is there, and what went wrong."""

from collections import Counter

from sglang_soft_evals.record import Record, failed_methods
from sglang_soft_evals.report.document import Block, Cell, Paragraph, Table
from sglang_soft_evals.report.numbers import number, share
from sglang_soft_evals.rundir import Run

MIXED = 0.01
"""Share of mixed steps below which a thought counts as discrete."""


def blocks(run: Run) -> list[Block]:
    """A partial run says so first; then the errors."""
    return [*_progress(run), *_errors(run)]


def _progress(run: Run) -> list[Block]:
    have = {method: run.records(method) for method in run.methods}
    total, expected = sum(map(len, have.values())), run.expected * len(have)
    samples = f"{run.info['samples']:,} sample{'s' if run.info['samples'] != 1 else ''}"
    plan = f"{len(have)} methods x {run.info['questions']:,} questions x {samples}"
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
        groups = {method: run.of(benchmark, method) for method in run.methods}
        records = {m: [r for rs in g.values() for r in rs] for m, g in groups.items()}
        failed = failed_methods(r for rs in records.values() for r in rs)
        for method, error in failed.items():
            text = f"ERROR: every request of {method} on {benchmark} failed ({error}). "
            found.append(Paragraph(f"{text}It has no score and is not compared.", warning=True))
        for method, mine in records.items():
            found += _one_hot(method, benchmark, mine)
            errors = Counter(r.error for r in mine if r.error and not r.failed)
            if errors:
                text = (
                    f"{errors.total():,} answers of {method} on {benchmark} count as wrong because "
                    f"the grader has no verdict (most often: {errors.most_common(1)[0][0]})."
                )
                found.append(Paragraph(text, warning=True))
    return found


def _one_hot(method: str, benchmark: str, records: list[Record]) -> list[Block]:
    """A warning if the thoughts of a soft method mixed nothing, as at temperature 0."""
    shares = [r.mixed_share for r in records if r.mixed_share is not None]
    mean = sum(shares) / max(1, len(shares))
    soft = any(r.thinking_method not in (None, "cot", "coconut_tf") for r in records)
    if not shares or not soft or mean >= MIXED:
        return []
    text = (
        f"{method} on {benchmark} mixed more than one token in {mean:.1%} of its thinking steps: "
        "its thoughts are nearly discrete, and its score says little about mixing. Was it asked "
        "with temperature 0?"
    )
    return [Paragraph(text, warning=True)]
