"""The answers that the tables link to, with their texts."""

from collections.abc import Iterable

from sglang_soft_evals.record import Key, Record
from sglang_soft_evals.report.document import Block, Section, Trace
from sglang_soft_evals.rundir import Run, read_line

LONGEST_TEXT = 20_000
"""Characters of a text that a trace shows; the middle of a longer text is left out."""


class Traces:
    """Collects the answers that the tables link to."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.anchors: dict[Key, str] = {}
        self.records: list[Record] = []

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.key not in self.anchors:
                self.records.append(record)
                self.anchors[record.key] = f"trace-{len(self.records)}"

    def section(self) -> Section:
        blocks: list[Block] = [_trace(self.run, r, self.anchors[r.key]) for r in self.records]
        return Section("traces", "Traces", blocks)


def _trace(run: Run, record: Record, anchor: str) -> Trace:
    row = read_line(run.folder, record)
    verdict = "right" if record.correct else "wrong"
    facts = [
        ("gold", record.gold),
        ("extracted", record.answer or "none"),
        ("graded", verdict),
        ("status", record.status),
    ]
    facts += [("tokens", f"{record.thinking_tokens:,} thinking, {record.answer_tokens:,} answer")]
    facts += [
        ("thinking ended", record.thinking_finish_reason or "not reported"),
        ("seed", str(record.seed)),
    ]
    texts = [
        (name, _short(str(row.get(name) or "")))
        for name in ("prompt", "reasoning", "text", "error")
        if row.get(name)
    ]
    where = f"question {record.question}, sample {record.sample}"
    title = f"{record.method}, {record.benchmark}, {where}: {verdict}"
    return Trace(anchor, title, facts, texts)


def _short(text: str) -> str:
    left_out = len(text) - LONGEST_TEXT
    if left_out <= 0:
        return text
    half = LONGEST_TEXT // 2
    gap = f"[... {left_out:,} characters left out, see samples.jsonl ...]"
    return f"{text[:half]}\n\n{gap}\n\n{text[-half:]}"
