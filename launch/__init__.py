"""Scripts around the project. Run them from the repository's root: `python -m launch.NAME`."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
BUNDLED_MODEL = ROOT / "sglang_soft" / "bundled"
