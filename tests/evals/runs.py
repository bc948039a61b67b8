"""Small runs for the tests."""

from pathlib import Path
from typing import Any

import orjson
from sglang_soft_evals import runfile
from sglang_soft_evals.config import RunConfig

METHODS = [
    {"name": "hard"},
    {"name": "soft", "soft_thinking": {"max_topk": 10}},
    {"name": "stop", "soft_thinking": {"cold_stop_entropy": 0.2, "cold_stop_steps": 12}},
]


def raw(base_url: str, **changes: Any) -> dict[str, Any]:
    return {
        "benchmark": "arith",
        "questions": 10,
        "samples": 2,
        "concurrency": 8,
        "server": {"base_url": base_url},
        "sampling": {
            "temperature": 0.6,
            "top_p": 0.95,
            "top_k": 30,
            "min_p": 0.001,
            "max_tokens": 256,
        },
        "methods": METHODS,
    } | changes


def small(base_url: str = "http://127.0.0.1:1", **changes: Any) -> RunConfig:
    """10 questions, 2 samples, 3 methods."""
    return runfile.from_dict(raw(base_url, **changes))


def samples(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (folder / "samples.jsonl").read_bytes().splitlines()]


def keys(folder: Path) -> list[tuple[str, str, int]]:
    return [(r["method"], r["question"], r["sample"]) for r in samples(folder)]
