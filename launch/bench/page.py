"""The page that a benchmark prints, and writes as it grows."""

from pathlib import Path


class Page:
    """Sections of Markdown. Each is printed when it comes, and the file holds all of them at any
    moment, so that a run that is cut short leaves its figures."""

    def __init__(self, path: Path | None = None, section: str = "gpu") -> None:
        """path: the file. Only its section `<!-- gpu: begin -->` is replaced; a new file holds
        nothing else."""
        self._path, self._section = path, section
        self._texts: list[str] = []

    def add(self, text: str, quiet: bool = False) -> None:
        """quiet: do not print it."""
        self._texts.append(text)
        self._write(quiet)

    def replace(self, text: str) -> None:
        """Put `text` in place of the last section."""
        self._texts[-1] = text
        self._write(False)

    def _write(self, quiet: bool) -> None:
        if not quiet:
            print(f"\n{self._texts[-1]}", flush=True)
        if self._path:
            write_section(self._path, self._section, "\n\n".join(self._texts))


def write_section(path: Path, name: str, text: str) -> None:
    """Replace what is between `<!-- name: begin -->` and `<!-- name: end -->`; a new file gets
    nothing else. Raises ValueError for a file without that section."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = (path.read_text() if path.exists() else begin + end).partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path} has no section {begin} ... {end}")
    path.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after.rstrip()}\n")
