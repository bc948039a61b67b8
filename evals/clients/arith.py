"""The grader of arith.yaml, for lm-eval: the rule of the evals themselves.

lm-eval runs in an environment of its own, so the rule's file, which needs nothing, is loaded by its
path.
"""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parents[1] / "sglang_soft_evals" / "numbers.py"
_SPEC = spec_from_file_location("sglang_soft_evals_numbers", _FILE)
assert _SPEC is not None and _SPEC.loader is not None
numbers = module_from_spec(_SPEC)
_SPEC.loader.exec_module(numbers)


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    answer = numbers.stated(results[0])
    return {"exact_match": float(answer is not None and numbers.equal(answer, doc["answer"]))}
