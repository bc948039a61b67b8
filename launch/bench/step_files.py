"""Which files of the project a decode step of one soft request runs through.

`shape.py` names this module in SGLANG_SOFT_METHODS, so every process of the engine imports it. It
watches calls from then on; what was called between two steps is one decode step of the scheduler.
"""

import os
import sys
from pathlib import Path

OURS = ("sglang_soft", "sglang_soft_kernels", "sglang_soft_cpu")
_called: set[str] = set()
_steps: list[set[str]] = []


def _watch(frame, event: str, _argument) -> None:
    if event != "call":
        return
    file = Path(frame.f_code.co_filename)
    if not any(part in OURS for part in file.parts) or "methods" in file.parts:
        return
    _called.add(file.as_posix())
    if frame.f_code.co_name == "consume":
        _steps.append(set(_called))
        _called.clear()
        if len(_steps) == 20:  # steady decoding
            Path(os.environ["STEP_FILES"]).write_text("\n".join(sorted(_steps[-1])))
            sys.setprofile(None)


if "STEP_FILES" in os.environ:
    sys.setprofile(_watch)
