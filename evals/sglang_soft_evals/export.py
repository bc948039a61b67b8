"""Code benchmarks: samples out to the program that executes them, and its scores back in.

evalplus (HumanEval, MBPP) and LiveCodeBench's runner each read one file for each method. Nothing is
executed here.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sglang_soft_evals.record import Key, Record
from sglang_soft_evals.records import Records
from sglang_soft_evals.rundir import SAMPLES, Run, load

COMMANDS = {
    "evalplus": "evalplus.evaluate --dataset {benchmark} --samples {file}",
    "livecodebench": "python -m lcb_runner.runner.custom_evaluator --release_version release_v5 "
    "--start_date 2024-08-01 --end_date 2025-01-31 --custom_output_file {file}",
}
"""To be run where `pip install evalplus` was run, or in a checkout of LiveCodeBench."""


class Exported(NamedTuple):
    method: str
    file: Path
    command: str


class Code(NamedTuple):
    """A run of a code benchmark."""

    run: Run
    benchmark: str
    runner: str
    """A key of COMMANDS."""

    def of(self, method: str) -> dict[str, list[Record]]:
        """Question -> records by sample; files and scores keep this order."""
        return self.run.of(self.benchmark, method)


def read(folder: Path) -> Code:
    """Raises ValueError if it is not the directory of a run that another program scores."""
    run = load(folder)
    benchmark, grader = run.info["config"]["benchmark"], run.info["provenance"]["grader"]
    if grader not in COMMANDS:
        raise ValueError(f"{benchmark} was graded by {grader}; there is nothing to export.")
    return Code(run, benchmark, grader)


def write(folder: Path) -> list[Exported]:
    """Write a file for each method. A failed sample is exported as an empty solution.

    Raises ValueError as `read`.
    """
    code = read(folder)
    written: list[Exported] = []
    for method in (*code.run.methods, *code.run.run_controls):
        solutions = {q: [r.answer or "" for r in rs] for q, rs in code.of(method).items()}
        name = re.sub(r"[^A-Za-z0-9]+", "-", method).strip("-").lower()
        suffix = "jsonl" if code.runner == "evalplus" else "json"
        file = folder / "export" / f"{name}.{suffix}"
        if file in (other.file for other in written):
            raise ValueError(f"two methods would be written to {file}; give them other names.")
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(_content(code.runner, solutions))
        command = COMMANDS[code.runner].format(benchmark=code.benchmark, file=file)
        written.append(Exported(method, file, command))
    return written


def _content(runner: str, solutions: dict[str, list[str]]) -> bytes:
    if runner == "evalplus":
        lines = [{"task_id": q, "solution": text} for q, ts in solutions.items() for text in ts]
        return b"".join(orjson.dumps(line) + b"\n" for line in lines)
    return orjson.dumps([{"question_id": q, "code_list": ts} for q, ts in solutions.items()])


def _evalplus(scores: Any, tests: str) -> dict[str, list[bool]]:
    wanted = ("base_status",) if tests == "base" else ("base_status", "plus_status")
    return {
        task: [all(one[key] == "pass" for key in wanted) for one in ones]
        for task, ones in scores["eval"].items()
    }


def _livecodebench(scores: Any, tests: str) -> dict[str, list[bool]]:
    return {str(one["question_id"]): [bool(ok) for ok in one["graded_list"]] for one in scores}


def read_scores(folder: Path, method: str, scores: Path, tests: str = "base") -> tuple[int, int]:
    """Put a program's scores of one method into `samples.jsonl`; returns (right, scored).

    Args:
        folder: the run directory.
        method: its name in the run file.
        scores: evalplus' `*_eval_results.json`, or LiveCodeBench's `*_eval_all.json`.
        tests: of evalplus: `base`, the benchmark's own tests, or `plus`, evalplus' as well.

    Raises:
        ValueError: an unknown method, or scores that do not fit the exported samples.
    """
    code = read(folder)
    known_methods = (*code.run.methods, *code.run.run_controls)
    if method not in known_methods:
        known = ", ".join(known_methods)
        raise ValueError(f"method must be one of {known}; got {method!r}.")
    found = (_evalplus if code.runner == "evalplus" else _livecodebench)(
        orjson.loads(scores.read_bytes()), tests
    )
    verdicts: dict[Key, bool] = {}
    for question, records in code.of(method).items():
        for index, record in enumerate(records):
            if index >= len(found.get(question, ())):
                raise ValueError(f"{scores} has no score of {question}, sample {index}.")
            if not record.failed:
                verdicts[record.key] = found[question][index]

    def scored(row: dict[str, Any]) -> dict[str, Any]:
        key = Key(row["benchmark"], row["method"], row["question"], row["sample"])
        return row | {"correct": verdicts[key]} if key in verdicts else row

    lines = Records(folder / SAMPLES)
    try:
        lines.rewrite(scored)
    finally:
        lines.close()
    return sum(verdicts.values()), len(verdicts)
