"""Code benchmarks: samples out to the runner that executes them in an environment of its own, and
its scores back in.

evalplus (HumanEval, MBPP) and LiveCodeBench's runner each read one file for a method. Nothing is
executed here.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sglang_soft_evals import records

COMMANDS = {
    "evalplus": "evalplus.evaluate --dataset {benchmark} --samples {file}",
    "livecodebench": "python -m lcb_runner.runner.custom_evaluator --release_version release_v5 "
    "--start_date 2024-08-01 --end_date 2025-01-31 --custom_output_file {file}",
}
"""To be run where `pip install evalplus` was, or in a checkout of LiveCodeBench."""


class Exported(NamedTuple):
    method: str
    file: Path
    command: str


def _of_method(folder: Path, method: str) -> list[dict[str, Any]]:
    """Records in the order in which they are exported: by question as first seen, then by
    sample."""
    mine = [
        record for record in records.read(folder / "samples.jsonl") if record["method"] == method
    ]
    order = {
        question: i
        for i, question in enumerate(dict.fromkeys(record["question"] for record in mine))
    }
    return sorted(mine, key=lambda record: (order[record["question"]], record["sample"]))


def _run(folder: Path) -> tuple[str, str, list[str]]:
    """(benchmark, runner, methods). Raises ValueError where nothing has to be scored outside."""
    if not (folder / "run.json").is_file():
        raise ValueError(f"{folder} has no run.json; it is not the directory of a run.")
    run = orjson.loads((folder / "run.json").read_bytes())
    grader = run["provenance"]["grader"]
    if grader not in COMMANDS:
        raise ValueError(
            f"{run['config']['benchmark']} was graded by {grader}; there is nothing to export."
        )
    return run["config"]["benchmark"], grader, [method["name"] for method in run["methods"]]


def _file(folder: Path, method: str, runner: str) -> Path:
    name = re.sub(r"[^A-Za-z0-9]+", "-", method).strip("-").lower()
    return folder / "export" / f"{name}.{'jsonl' if runner == 'evalplus' else 'json'}"


def write(folder: Path) -> list[Exported]:
    """Write a file for each method of a run directory. A failed sample goes out as an empty
    solution."""
    benchmark, runner, methods = _run(folder)
    written = []
    for method in methods:
        mine = _of_method(folder, method)
        file = _file(folder, method, runner)
        file.parent.mkdir(exist_ok=True)
        if runner == "evalplus":
            lines = [{"task_id": r["question"], "solution": r["answer"] or ""} for r in mine]
            file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
        else:
            codes: dict[str, list[str]] = {}
            for record in mine:
                codes.setdefault(record["question"], []).append(record["answer"] or "")
            file.write_bytes(
                orjson.dumps([{"question_id": q, "code_list": c} for q, c in codes.items()])
            )
        written.append(
            Exported(method, file, COMMANDS[runner].format(benchmark=benchmark, file=file))
        )
    return written


def _evalplus(scores: Any, tests: str) -> dict[str, list[bool]]:
    wanted = ("base_status",) if tests == "base" else ("base_status", "plus_status")
    return {
        task: [all(one[key] == "pass" for key in wanted) for one in ones]
        for task, ones in scores["eval"].items()
    }


def _livecodebench(scores: Any, tests: str) -> dict[str, list[bool]]:
    return {
        str(one["question_id"]): [bool(right) for right in one["graded_list"]] for one in scores
    }


def read_scores(folder: Path, method: str, scores: Path, tests: str = "base") -> tuple[int, int]:
    """Put a runner's scores of one method into `samples.jsonl`; returns (right, scored).

    Args:
        scores: evalplus' `*_eval_results.json`, or LiveCodeBench's `*_eval_all.json`.
        tests: of evalplus: `base`, the benchmark's own tests, or `plus`, evalplus' as well.

    Raises:
        ValueError: an unknown method, or scores that do not fit the exported samples.
    """
    _, runner, methods = _run(folder)
    if method not in methods:
        raise ValueError(f"method must be one of {', '.join(methods)}; got {method!r}.")
    verdicts = (_evalplus if runner == "evalplus" else _livecodebench)(
        orjson.loads(scores.read_bytes()), tests
    )
    lock = records.Records(folder / "samples.jsonl")
    try:
        position: dict[str, int] = {}
        for record in _of_method(folder, method):
            index = position[record["question"]] = position.get(record["question"], -1) + 1
            if index >= len(verdicts.get(record["question"], ())):
                raise ValueError(f"{scores} has no score of {record['question']}, sample {index}.")
            if record["status"] != "failed":
                lock.done[records.key(record)]["correct"] = verdicts[record["question"]][index]
        lock.rewrite(list(lock.done.values()))
        mine = [r for r in lock.done.values() if r["method"] == method and r["correct"] is not None]
        return sum(r["correct"] for r in mine), len(mine)
    finally:
        lock.close()
