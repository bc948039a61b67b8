"""The terminal while a thought comes: its text, coloured, and below it the latest entropies."""

from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sglang_soft.terminal.colours import bars, style, written
from sglang_soft.terminal.flow import Span

SCALE = 2.0
"""Nats of the highest bar while the thought comes: its largest entropy is not known yet."""


class Screen:
    """Shows spans. Lines that are full go up into the terminal's history; the last line and the
    bars stay. Where the output is no terminal, text is written as it comes, without bars."""

    def __init__(self, console: Console) -> None:
        self._console, self._line = console, Text()
        self._entropies: list[float] = []
        self._answering = False
        live = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, auto_refresh=False, transient=True) if live else None
        self._at_start = True
        """Nothing is on this line; where there is no live part."""

    def __enter__(self) -> "Screen":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._live is not None:
            self._live.stop()
            if self._line:
                self._console.print(self._line)
        elif not self._at_start:
            self._console.print()

    def show(self, span: Span) -> None:
        if span.answer and not self._answering:
            self._answering = True
            self._begin_answer()
        how = "dim" if span.silent else "bold" if span.answer else ""
        if span.concept is not None:
            how = style(float(span.concept.weights.max(initial=0.0)))
            self._entropies.append(span.concept.entropy)
        self._write(written(span.text, how))

    def _begin_answer(self) -> None:
        """On a line of its own."""
        if self._live is None:
            if not self._at_start:
                self._write(Text("\n"))
        elif self._line:
            self._console.print(self._line)
            self._line = Text()

    def _write(self, text: Text) -> None:
        if self._live is None:
            self._console.print(text, end="", soft_wrap=True)
            self._console.file.flush()
            self._at_start = text.plain.endswith("\n") if text.plain else self._at_start
            return
        self._line.append_text(text)
        *full, self._line = self._wrapped()
        for line in full:
            self._console.print(line)
        below = bars(self._entropies[-self._console.width :], self._console.width, SCALE)
        self._live.update(Group(self._line, Text(below, "cyan")), refresh=True)

    def _wrapped(self) -> list[Text]:
        """The line, as lines that fit; the last one may be empty."""
        lines = []
        for line in self._line.split("\n", allow_blank=True) or [Text()]:
            lines += list(line.wrap(self._console, self._console.width)) or [Text()]
        return lines
