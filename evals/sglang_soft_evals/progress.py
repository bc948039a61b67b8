"""Accuracy and tokens of each method so far, on standard error while a run goes on."""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

from tqdm import tqdm

from sglang_soft_evals.record import Record

REPORT_EVERY = 30.0
"""Seconds between two reports if standard error is not a terminal."""


@dataclass(slots=True)
class _Tally:
    records: int = 0
    right: int = 0
    graded: int = 0
    answers: int = 0
    failed: int = 0
    tokens: int = 0

    def add(self, record: Record) -> None:
        self.records += 1
        self.right += record.graded and record.correct
        self.graded += record.graded
        self.answers += not record.failed
        self.failed += record.failed
        self.tokens += record.completion_tokens

    def __str__(self) -> str:
        if not self.records:
            return ""
        failed = f"{self.failed} failed" if self.failed else ""
        if not self.answers:
            return failed
        accuracy = f"{100 * self.right / self.graded:.1f}%" if self.graded else "-"
        told = f"accuracy {accuracy}, {self.tokens / self.answers:.0f} tokens"
        return f"{told}, {failed}" if failed else told


class Progress:
    """One bar for each method on a terminal; elsewhere one line for each method now and then."""

    def __init__(self, methods: Iterable[str], total: int, done: Iterable[Record]) -> None:
        self._tallies = {name: _Tally() for name in methods}
        self._total = total
        for record in done:
            if record.method in self._tallies:
                self._tallies[record.method].add(record)
        width = max(map(len, self._tallies), default=0)
        self._bars: dict[str, tqdm] = {}
        for position, (name, tally) in enumerate(self._tallies.items()):
            if sys.stderr.isatty():
                label, start = f"{name:{width}}", tally.records
                bar = tqdm(total=total, initial=start, desc=label, position=position)
                bar.set_postfix_str(str(tally))
                self._bars[name] = bar
        self._reported = time.monotonic()

    def tick(self, record: Record) -> None:
        """Count one more record."""
        tally = self._tallies[record.method]
        tally.add(record)
        if self._bars:
            self._bars[record.method].set_postfix_str(str(tally), refresh=False)
            self._bars[record.method].update()
        elif time.monotonic() - self._reported > REPORT_EVERY:
            self.show()

    def show(self) -> None:
        """One line for each method."""
        self._reported = time.monotonic()
        for name, tally in self._tallies.items():
            line = f"{name}: {tally.records}/{self._total}  {tally}"
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        for bar in self._bars.values():
            bar.close()
        if not self._bars:
            self.show()
