"""A folder as one tar file in chunks with checksums: what install_bundle.sh verifies and joins."""

import hashlib
import io
import shutil
import tarfile
from pathlib import Path

SCRIPT = Path(__file__).with_name("install_bundle.sh")


class ChunkWriter(io.RawIOBase):
    """A stream that is written to `bundle.tar.00000`, `.00001` and so on, each `size` bytes, the
    last one shorter."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        self._file: io.BufferedWriter | None = None
        self._left = 0
        self.paths: list[Path] = []

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        view = memoryview(data)
        while view:
            if not self._left:
                self._next()
            assert self._file
            part = view[: self._left]
            self._file.write(part)
            self._left -= len(part)
            view = view[len(part) :]
        return memoryview(data).nbytes

    def _next(self) -> None:
        if self._file:
            self._file.close()
        self.paths.append(self._folder / f"bundle.tar.{len(self.paths):05}")
        self._file, self._left = self.paths[-1].open("wb"), self._size

    def close(self) -> None:
        if self._file:
            self._file.close()
        super().close()


def pack(content: Path, out: Path, chunk_bytes: int) -> list[Path]:
    """Pack the files of `content` into chunks in `out`, with SHA256SUMS and the install script.
    Earlier chunks there are removed: a stale one would be joined to the new ones. Returns the
    chunks."""
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("bundle.tar.*"):
        stale.unlink()
    writer = ChunkWriter(out, chunk_bytes)
    with tarfile.open(fileobj=writer, mode="w|") as tar:
        for path in sorted(content.rglob("*")):
            tar.add(path, path.relative_to(content), recursive=False)
    writer.close()
    shutil.copy(SCRIPT, out)
    sums = [f"{_sha256(path)}  {path.name}\n" for path in [*writer.paths, out / SCRIPT.name]]
    (out / "SHA256SUMS").write_text("".join(sums))
    return writer.paths


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
