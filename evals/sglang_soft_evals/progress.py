"""Running accuracy and tokens of each method, on standard error while a run goes."""

import sys
import time
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

REPORT_EVERY = 30.0
"""Seconds between two lines where standard error is no terminal."""


class Progress:
    """One bar a method on a terminal, now and then one line a method elsewhere."""

    def __init__(self, methods: Iterable[str], total: int, done: Iterable[dict[str, Any]]) -> None:
        self._tally = {
            name: [0, 0, 0, 0] for name in methods
        }  # records, right, graded, completion tokens
        self._total = total
        terminal = sys.stderr.isatty()
        width = max(map(len, self._tally))
        self._bars = {
            name: tqdm(total=total, desc=f"{name:{width}}", position=i, leave=True)
            for i, name in enumerate(self._tally)
            if terminal
        }
        for record in done:
            self._add(record)
        for name, bar in self._bars.items():
            bar.initial = bar.n = self._tally[name][0]
            bar.set_postfix_str(self._figures(name))
        self._reported = time.monotonic()

    def _add(self, record: dict[str, Any]) -> None:
        tally = self._tally[record["method"]]
        tally[0] += 1
        if record["correct"] is not None:
            tally[1] += record["correct"]
            tally[2] += 1
        tally[3] += record["completion_tokens"]

    def _figures(self, name: str) -> str:
        records, right, graded, tokens = self._tally[name]
        accuracy = f"{100 * right / graded:.1f}%" if graded else "-"
        return f"accuracy {accuracy}, {tokens / records:.0f} tokens" if records else ""

    def tick(self, record: dict[str, Any]) -> None:
        self._add(record)
        name = record["method"]
        if self._bars:
            self._bars[name].set_postfix_str(self._figures(name), refresh=False)
            self._bars[name].update()
        elif time.monotonic() - self._reported > REPORT_EVERY:
            self.show()

    def show(self) -> None:
        """One line a method."""
        self._reported = time.monotonic()
        for name, tally in self._tally.items():
            print(
                f"{name}: {tally[0]}/{self._total}  {self._figures(name)}",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        for bar in self._bars.values():
            bar.close()
        if not self._bars:
            self.show()
