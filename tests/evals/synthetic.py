"""A run that looks like a real one, drawn from known chances, so that a test knows what the report
has to show."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """How a made-up method behaves."""

    shift: float = 0.0
    """Added to the log odds of every question."""
    tokens: float = 6000.0
    truncated: float = 0.02
    failed: float = 0.0
    soft: dict[str, Any] | None = None


METHODS = {
    "cot": Maker(truncated=0.04),
    "cot+cold-stop": Maker(tokens=5200, soft={"method": "cot", "cold_stop_entropy": 0.01}),
    "soft": Maker(shift=-0.05, tokens=5600, soft={"method": "soft", "max_topk": 10}),
    "soft+cold-stop": Maker(
        shift=-0.1, tokens=4700, soft={"method": "soft", "cold_stop_entropy": 0.01}
    ),
    "gumbel": Maker(shift=0.9, tokens=5900, soft={"method": "gumbel", "gumbel_temperature": 0.5}),
    "average-embedding": Maker(shift=-3.0, tokens=9800, truncated=0.25, soft={"method": "average"}),
    "moi": Maker(shift=0.05, tokens=6050, failed=0.03, soft={"method": "moi", "beta": 1.0}),
}


@dataclass(slots=True, kw_only=True)
class Synthetic:
    """Records of a run, in the order in which they would come."""

    methods: dict[str, Maker] = field(default_factory=lambda: dict(METHODS))
    benchmarks: dict[str, int] = field(default_factory=lambda: {"aime2024": 30})
    """Name to number of questions."""
    samples: int = 8
    seed: int = 0

    def records(self) -> list[dict[str, Any]]:
        rng = np.random.default_rng(self.seed)
        rows = []
        for benchmark, questions in self.benchmarks.items():
            ease = rng.normal(1.2, 2.0, questions)
            for sample in range(self.samples):
                for question in range(questions):
                    for name, maker in self.methods.items():
                        rows.append(
                            self._record(
                                rng, benchmark, question, sample, name, maker, ease[question]
                            )
                        )
        return rows

    def _record(self, rng, benchmark, question, sample, name, maker, ease) -> dict[str, Any]:
        gold = 100 + 7 * question
        drawn = rng.random()
        status = (
            "failed"
            if drawn < maker.failed
            else "truncated"
            if drawn < maker.failed + maker.truncated
            else "ok"
        )
        right = status == "ok" and rng.random() < 1 / (1 + np.exp(-ease - maker.shift))
        thinking = int(rng.gamma(6, maker.tokens * (1.25 - 0.08 * ease) / 6))
        answer = int(rng.gamma(8, 60))
        wrong = None if status == "truncated" else str(gold + 1 + int(rng.integers(3)))
        text = f"The answer is \\boxed{{{gold if right else wrong}}}. <b>|</b>"
        row = {
            "benchmark": benchmark,
            "method": name,
            "question": f"{benchmark}-{question}",
            "sample": sample,
            "seed": 1000 * question + sample,
            "status": status,
            "correct": None if status == "failed" else bool(right),
            "answer": str(gold) if right else wrong,
            "gold": str(gold),
            "grader": "math",
            "thinking_method": None if maker.soft is None else maker.soft.get("method", "soft"),
            "thinking_tokens": 32768 if status == "truncated" else thinking,
            "answer_tokens": 0 if status == "truncated" else answer,
            "thinking_finish_reason": "length" if status == "truncated" else _ended(rng, maker),
            "mean_entropy": None if maker.soft is None else float(rng.uniform(0.2, 0.5)),
            "mixed_share": None if maker.soft is None else 0.5,
            "latency_s": (thinking + answer) / float(rng.uniform(38, 45)),
            "prompt": f"Find x such that x - 7 * {question} = 100 & x < 10^6.",
            "reasoning": f"<think>Let us see. Question {question} asks for x.\n"
            + "So 7 < 8. " * 20,
            "text": "" if status == "truncated" else text,
            "error": None,
        }
        if status == "failed":
            row |= {
                "answer": None,
                "thinking_tokens": 0,
                "answer_tokens": 0,
                "thinking_finish_reason": None,
                "thinking_method": None,
                "mean_entropy": None,
                "mixed_share": None,
            }
            row |= {"reasoning": "", "text": "", "error": "HTTP 503: <overloaded>"}
        row["completion_tokens"] = row["thinking_tokens"] + row["answer_tokens"]
        return row

    def write(self, folder: Path, records: list[dict[str, Any]] | None = None) -> Path:
        """run.json and samples.jsonl with these records, by default all."""
        folder.mkdir(parents=True, exist_ok=True)
        records = self.records() if records is None else records
        (folder / "samples.jsonl").write_bytes(
            b"".join(orjson.dumps(row) + b"\n" for row in records)
        )
        (folder / "run.json").write_bytes(orjson.dumps(self.info()))
        return folder

    def info(self) -> dict[str, Any]:
        sampling = {"temperature": 0.6, "top_p": 0.95, "top_k": 30, "max_tokens": 32768}
        return {
            "config": {
                "benchmark": list(self.benchmarks),
                "samples": self.samples,
                "sampling": sampling,
            },
            "provenance": {
                "versions": {"sglang": "0.5.23", "torch": "2.14.1", "sglang-soft": "0.1.0"},
                "hardware": "made up",
                "commit": "0123abc",
                "started": "2026-01-02T03:04:05+00:00",
                "command": "sglang-soft eval runs/aime2024.toml",
                "model": "Qwen/QwQ-32B",
                "prompt_template": "{problem}\nPut the final answer in \\boxed{}. ```keep```",
                "sampling": sampling,
            },
            "methods": [
                {"name": name, "params": maker.soft} for name, maker in self.methods.items()
            ],
            "samples": self.samples,
            "questions": sum(self.benchmarks.values()),
            "concurrency": 32,
            "wall_s": 5210.4,
            "sessions": [
                {"started": "2026-01-02T03:04:05+00:00", "ended": "2026-01-02T04:30:55+00:00"}
            ],
        }


def _ended(rng, maker: Maker) -> str:
    stops = maker.soft is not None and "cold_stop_entropy" in maker.soft
    return "cold_stop" if stops and rng.random() < 0.3 else "stop_token"
