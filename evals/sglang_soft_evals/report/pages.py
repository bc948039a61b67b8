"""Pages of thoughts that a report links to: of the baseline's trace next to the method's, or of the
one that the run kept."""

from pathlib import Path

from sglang_soft.trace import Trace
from sglang_soft.view import sources
from sglang_soft.view.command import page_of
from sglang_soft.view.reading import Read
from sglang_soft_evals.kept import name_of
from sglang_soft_evals.record import Record
from sglang_soft_evals.rundir import Run, read_line

FOLDER = "pages"


class Pages:
    """Collects the pages that the tables link to, and writes them."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._wanted: dict[str, list[Record]] = {}

    def add(self, baseline: Record, method: Record) -> str | None:
        """The path of a page below the run directory. None: the run kept neither trace."""
        records = [
            r for r in (baseline, method) if r.trace and (self._run.folder / r.trace).exists()
        ]
        if not records:
            return None
        name = "-".join(name_of(record.key) for record in records)
        path = f"{FOLDER}/{name}.html"
        self._wanted[path] = records
        return path

    def write(self) -> list[Path]:
        written = []
        for path, records in self._wanted.items():
            file = self._run.folder / path
            file.parent.mkdir(exist_ok=True)
            file.write_text(self._page(records), encoding="utf-8")
            written.append(file)
        return written

    def _page(self, records: list[Record]) -> str:
        reads, prompt = [], ""
        for record in records:
            row = read_line(self._run.folder, record)
            assert record.trace is not None
            trace = Trace.load(self._run.folder / record.trace)
            prompt = str(row.get("prompt") or "")
            reads.append(Read(trace, _title(record), str(row.get("text") or "")))
        return page_of(reads, self._source(reads[0].trace), [r.name for r in reads], prompt)

    def _source(self, trace: Trace) -> sources.Source | None:
        """Texts of tokens: the tokenizer that the trace names, else the run's model where it is a
        folder on this machine. None: the page shows ids."""
        if (local := sources.find(trace)) is not None:
            return local
        model = ((self._run.info.get("config") or {}).get("server") or {}).get("model")
        if isinstance(model, str) and Path(model).is_dir():
            local = sources.load(model)
            return local if local.is_of(trace) else None
        return None


def _title(record: Record) -> str:
    verdict = "right" if record.correct else "wrong"
    return f"{record.method}, {record.question}, sample {record.sample}: {verdict}"
