"""A process that uses the project as it lies in a folder, whatever is installed."""

import os
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef]

PATHS = (".", "kernels", "evals")


def environment(checkout: Path, scratch: Path) -> dict[str, str]:
    """PYTHONPATH for the folder. In front of it, written into `scratch`, stand the entry points of
    the folder's own pyproject.toml: those of an installed version may name modules that this one
    does not have."""
    metadata = scratch / "sglang_soft-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: sglang-soft\nVersion: 0\n")
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    given = os.environ.get("PYTHONPATH")
    paths = [scratch, *(checkout / path for path in PATHS), *([given] if given else [])]
    return {"PYTHONPATH": os.pathsep.join(map(str, paths))}
