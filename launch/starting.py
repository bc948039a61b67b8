"""What a person sees while a server starts: one line that says what is waited for."""

import re
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

PHASES = (
    ("loading the model", "Load weight begin|Init torch distributed|init_cpu_threads_env"),
    ("allocating the KV cache", "Load weight end|KV Cache is allocated"),
    ("capturing CUDA graphs", "Capture .*graph.* begin"),
    ("generating a first token", "Application startup complete|Uvicorn running"),
)
"""What comes next, and the line of SGLang's log that says so; in order. A log without these lines
leaves the first words, which are true as well."""
FIRST = "importing SGLang"
_PERIOD = 0.2
"""seconds"""


def phase(log: str) -> str:
    """What a server waits for, from its log so far."""
    reached = [name for name, words in PHASES if re.search(words, log)]
    return reached[-1] if reached else FIRST


@contextmanager
def shown(console: Console, log: Path) -> Iterator[None]:
    """A spinner with the phase and the seconds; where the output is no terminal, a line for each
    phase."""
    ended = threading.Event()

    def watch() -> None:
        begun, last = time.monotonic(), ""
        with console.status("") as status:
            while not ended.wait(_PERIOD):
                now = phase(log.read_text(errors="replace")) if log.exists() else FIRST
                if console.is_terminal:
                    status.update(f"{now}, {time.monotonic() - begun:.0f} s")
                elif now != last:
                    console.print(f"  {now} ...")
                last = now

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def warnings_into(log: Path) -> None:
    """Warnings of this process, such as those of imports, go where the server's are."""

    def write(message, category, filename, lineno, file=None, line=None) -> None:
        with log.open("a") as sink:
            sink.write(warnings.formatwarning(message, category, filename, lineno, line))

    warnings.showwarning = write
