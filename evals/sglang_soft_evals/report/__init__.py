"""The report of a run: one Markdown file and one self-contained HTML page, from `run.json` and
`samples.jsonl` alone.

Reading order: `measures` and `comparisons` (the numbers), `tables`, `at_k`, `pareto` and
`per_question_changes` (what is shown of them), `summary` and `sections` (the text), `document`,
`markdown` and `html` (how it is written).
"""

from pathlib import Path

from sglang_soft_evals.report import sections, summary
from sglang_soft_evals.report.comparisons import pick_baseline
from sglang_soft_evals.report.document import Document, Section
from sglang_soft_evals.report.html import html
from sglang_soft_evals.report.markdown import markdown
from sglang_soft_evals.report.pages import Pages
from sglang_soft_evals.report.provenance import provenance
from sglang_soft_evals.report.published import published_for
from sglang_soft_evals.report.traces import Traces
from sglang_soft_evals.rundir import Run, load

MARKDOWN, HTML = "report.md", "report.html"


def write(run_dir: Path, baseline: str | None = None) -> tuple[Path, Path]:
    """Write report.md and report.html into a run directory, complete or not; returns their paths.
    Where the run kept traces, also pages of the thoughts that they link to.

    Args:
        run_dir: the run directory.
        baseline: the method that the others are compared with; default: `cot`, else the first
            discrete one.

    Raises:
        ValueError: an unknown baseline, or files that are not a run's.
    """
    run_dir = Path(run_dir)
    run = load(run_dir)
    pages = Pages(run)
    document = compose(run, baseline, pages)
    pages.write()
    paths = run_dir / MARKDOWN, run_dir / HTML
    paths[0].write_text(markdown(document, HTML))
    paths[1].write_text(html(document))
    return paths


def compose(run: Run, baseline: str | None = None, pages: Pages | None = None) -> Document:
    """The document of a run. pages: collects those that it links to. Raises ValueError as
    `write`."""
    pages = pages or Pages(run)
    baseline = pick_baseline(run, baseline)
    model = str((run.info.get("provenance") or {}).get("model", "model not stated"))
    traces = Traces(run)
    shown = [
        sections.benchmark(run, name, baseline, index, traces, pages)
        for index, name in enumerate(run.benchmarks, 1)
    ]
    parts = [
        Section("summary", "The run", summary.blocks(run)),
        *(section for section, _ in shown),
    ]
    if len(shown) > 1:
        measures = [measures for _, measures in shown]
        parts.append(sections.means(dict(zip(run.benchmarks, measures))))
    if any(published_for(name) for name in run.benchmarks):
        parts.append(sections.published_means())
    parts.append(provenance(run))
    if traces.records:
        parts.append(traces.section())
    names = ", ".join(run.benchmarks) or "no benchmark yet"
    return Document(f"{model} on {names}: {len(run.methods)} methods", parts)
