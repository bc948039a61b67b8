"""The answers that the tables link to, with their texts."""

from collections.abc import Iterable

from sglang_soft_evals.report.document import Block, Section, Trace
from sglang_soft_evals.report.records import Identity, Record, Run, read_text

LONGEST_TEXT = 20_000
"""Characters of a text that a trace shows; of a longer one the middle is left out."""


class Traces:
    """Collects the answers that the tables link to."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.anchors: dict[Identity, str] = {}
        self.records: list[Record] = []

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.identity not in self.anchors:
                self.records.append(record)
                self.anchors[record.identity] = f"trace-{len(self.records)}"

    def section(self) -> Section:
        blocks: list[Block] = [_trace(self.run, r, self.anchors[r.identity]) for r in self.records]
        return Section("traces", "Traces", blocks)


def _trace(run: Run, record: Record, anchor: str) -> Trace:
    row = read_text(run, record)
    verdict = "right" if record.correct else "wrong"
    facts = [
        ("gold", record.gold),
        ("extracted", record.answer or "none"),
        ("graded", verdict),
        ("status", record.status),
    ]
    facts += [("tokens", f"{record.thinking_tokens:,} thinking, {record.answer_tokens:,} answer")]
    facts += [("thinking ended", record.how_ended or "not reported"), ("seed", str(record.seed))]
    texts = [
        (name, _short(str(row.get(name) or "")))
        for name in ("prompt", "reasoning", "text", "error")
        if row.get(name)
    ]
    title = f"{record.method}, {record.benchmark}, question {record.question}, sample {record.sample}: {verdict}"
    return Trace(anchor, title, facts, texts)


def _short(text: str) -> str:
    left_out = len(text) - LONGEST_TEXT
    if left_out <= 0:
        return text
    half = LONGEST_TEXT // 2
    return f"{text[:half]}\n\n[... {left_out:,} characters left out, see samples.jsonl ...]\n\n{text[-half:]}"
