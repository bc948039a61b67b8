"""From a task to a graded record: ask the server, then the grader, then the judge."""

import time
from collections.abc import Mapping
from typing import Any

from sglang_soft_evals import benchmarks
from sglang_soft_evals.client import Client
from sglang_soft_evals.config import RunConfig
from sglang_soft_evals.grading import GraderProcess
from sglang_soft_evals.judge import JudgeClient
from sglang_soft_evals.sample import UNKNOWN, Task, body, failed, other_method, outcome


class Asker:
    """The server, grader and judge of a run.

    Raises ValueError if the environment lacks the judge's key.
    """

    def __init__(self, config: RunConfig, base_url: str, api_key: str | None) -> None:
        self._config = config
        self._benchmark = benchmarks.get(config.benchmark)
        self._judge = None if config.judge is None else JudgeClient(config.judge)
        self._grader = GraderProcess(config.graded_by)
        self.client = Client(base_url, timeout_s=config.timeout_s, api_key=api_key)
        self.served: Mapping[str, str | None] = {}
        """The thinking method of each method of the run file (None: discrete), from `preflight`."""
        self.think = UNKNOWN
        """What the server says about think tokens, from `preflight`."""

    async def close(self) -> None:
        await self.client.close()
        await self._grader.close()
        if self._judge is not None:
            await self._judge.close()

    async def record(self, task: Task) -> dict[str, Any]:
        """A line of `samples.jsonl`. Raises ServerGoneError."""
        return await self._grade(await self._ask(task))

    async def _ask(self, task: Task) -> dict[str, Any]:
        config, started = self._config, time.monotonic()
        prompt = config.prompt or self._benchmark.prompt
        text = benchmarks.render(prompt, task.question.question)
        completion = await self.client.patient_chat(body(config, task, text))
        row = {
            "benchmark": config.benchmark,
            "method": task.method.name,
            "question": task.question.id,
            "sample": task.sample,
            "seed": task.seed,
            **outcome(completion, self.think),
            "gold": task.question.answer,
            "prompt": text,
            "latency_s": round(time.monotonic() - started, 4),
        }
        asked = self.served[task.method.name]
        wrong = None if row["error"] else other_method(asked, row["thinking_method"])
        return failed(row, wrong) if wrong else row

    async def _grade(self, row: dict[str, Any]) -> dict[str, Any]:
        """Failed requests are not graded; truncated answers are, as they stand."""
        row["grader"] = self._config.graded_by
        if row["status"] == "failed":
            return row
        graded = await self._grader.grade(row["text"], row["gold"])
        row["correct"], row["answer"], row["error"] = graded
        if self._judge is not None and graded.correct is False:
            row["grader"] += f"+judge:{self._judge.model}"
            row["correct"] = await self._judge.says_yes(row)
        return row
