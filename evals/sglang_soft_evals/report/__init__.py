"""The report of a run: one Markdown file and one self-contained HTML page, from `run.json` and
`samples.jsonl` alone.

Reading order: `records` (the files), `measures` and `comparisons` (the numbers), `tables`,
`pareto`, `traces` and `sections` (what is shown), `document`, `markdown` and `html` (how it is
written).
"""

from pathlib import Path

from sglang_soft_evals.report import sections
from sglang_soft_evals.report.comparisons import pick_baseline
from sglang_soft_evals.report.document import Document, Section
from sglang_soft_evals.report.html import html
from sglang_soft_evals.report.markdown import markdown
from sglang_soft_evals.report.provenance import provenance
from sglang_soft_evals.report.published import published_for
from sglang_soft_evals.report.records import Run, load
from sglang_soft_evals.report.traces import Traces

MARKDOWN, HTML = "report.md", "report.html"


def write(run_dir: Path, baseline: str | None = None) -> tuple[Path, Path]:
    """Write report.md and report.html into the folder of a run, finished or not; returns their
    paths.

    baseline: the method that the others are compared with; default `cot`, else the first without
    parameters. ValueError for an unknown baseline and for files that are not a run's.
    """
    run_dir = Path(run_dir)
    document = compose(load(run_dir), baseline)
    paths = run_dir / MARKDOWN, run_dir / HTML
    paths[0].write_text(markdown(document, HTML))
    paths[1].write_text(html(document))
    return paths


def compose(run: Run, baseline: str | None = None) -> Document:
    """The document of a run; raises as `write` does."""
    baseline = pick_baseline(run, baseline)
    model = str((run.info.get("provenance") or {}).get("model", "model not stated"))
    traces = Traces(run)
    shown = [
        sections.benchmark(run, name, baseline, i, traces)
        for i, name in enumerate(run.benchmarks, 1)
    ]
    parts = [
        Section("summary", "The run", sections.progress(run)),
        *(section for section, _ in shown),
    ]
    if len(shown) > 1:
        parts.append(
            sections.means({name: measures for name, (_, measures) in zip(run.benchmarks, shown)})
        )
    if any(published_for(name) for name in run.benchmarks):
        parts.append(sections.published_means())
    parts.append(provenance(run))
    if traces.records:
        parts.append(traces.section())
    return Document(
        f"{model} on {', '.join(run.benchmarks) or 'no benchmark yet'}: {len(run.methods)} methods",
        parts,
    )
