"""Small runs for the tests."""

from pathlib import Path
from typing import Any

import orjson
from sglang_soft_evals import runfile
from sglang_soft_evals.config import RunConfig
from sglang_soft_evals.record import Record, parse

METHODS = [
    {"name": "discrete"},
    {"name": "soft", "soft_thinking": {"max_topk": 10}},
    {"name": "stop", "soft_thinking": {"cold_stop_entropy": 0.2, "cold_stop_steps": 12}},
]
SAMPLING = {"temperature": 0.6, "top_p": 0.95, "top_k": 30, "min_p": 0.001, "max_tokens": 256}


def raw(base_url: str, **changes: Any) -> dict[str, Any]:
    return {
        "benchmark": "arith",
        "questions": 10,
        "samples": 2,
        "concurrency": 8,
        "server": {"base_url": base_url},
        "sampling": SAMPLING,
        "methods": METHODS,
    } | changes


def small(base_url: str = "http://127.0.0.1:1", **changes: Any) -> RunConfig:
    """10 questions, 2 samples, 3 methods."""
    return runfile.from_dict(raw(base_url, **changes))


def samples(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (folder / "samples.jsonl").read_bytes().splitlines()]


def keys(folder: Path) -> list[tuple[str, str, int]]:
    return [(r["method"], r["question"], r["sample"]) for r in samples(folder)]


def info(folder: Path) -> dict[str, Any]:
    return orjson.loads((folder / "run.json").read_bytes())


def row(**changes: Any) -> dict[str, Any]:
    """A whole line of samples.jsonl."""
    line: dict[str, Any] = {"benchmark": "b", "method": "m", "question": "q", "sample": 0}
    line |= {"seed": 1, "status": "ok", "correct": True, "answer": "2", "gold": "2"}
    line |= {"thinking_method": None, "thinking_tokens": 3, "answer_tokens": 2}
    line |= {
        "completion_tokens": 6,
        "thinking_finish_reason": "stop_token",
        "mean_entropy": None,
        "mixed_share": None,
    }
    line |= {"latency_s": 0.5, "error": None, "text": "é\n", "reasoning": "", "prompt": "p"}
    return line | changes


def record(**changes: Any) -> Record:
    return parse(orjson.dumps(row(**changes)), 0)
