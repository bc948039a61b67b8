"""Scripts of launch/ import each other as plain modules, as they do when they are run: their folder
is on the path."""

import sys
from pathlib import Path

LAUNCH = Path(__file__).parents[2] / "launch"

if str(LAUNCH) not in sys.path:
    sys.path.append(str(LAUNCH))  # behind everything else: a script must not shadow a package
