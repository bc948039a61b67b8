"""What lm-eval does with an answer of `sglang_soft_arith`: the rules of `sglang-soft eval`.

lm-eval runs in an environment of its own, so the two modules are read from their files. They need
the standard library only.
"""

import importlib.util
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

_RULES = Path(__file__).resolve().parents[1] / "sglang_soft_evals"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"sglang_soft_{name}", _RULES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_numbers, _thoughts = _load("numbers"), _load("thoughts")


def process_results(doc: dict[str, Any], results: list[str | None]) -> dict[str, float]:
    """Whether the number that the answer gives is the gold one. None: the server sent no answer."""
    answer = _thoughts.split("", results[0] or "", None).answer
    return {"exact_match": float(_numbers.stated(answer) == Fraction(doc["answer"]))}
