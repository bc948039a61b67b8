"""From a task to graded records: ask the server, then the grader, then the judge."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sglang_soft_evals import benchmarks, forking, kept
from sglang_soft_evals.client import Client
from sglang_soft_evals.config import RunConfig
from sglang_soft_evals.grading import GraderProcess
from sglang_soft_evals.judge import JudgeClient
from sglang_soft_evals.record import Key
from sglang_soft_evals.sample import UNKNOWN, Answer, Task, body, failed, other_method, outcome


class Asker:
    """The server, grader and judge of a run.

    Raises ValueError if the environment lacks the judge's key.
    """

    def __init__(
        self, config: RunConfig, base_url: str, api_key: str | None, out: Path | None = None
    ) -> None:
        """out: the run directory, where traces are kept (`keep_traces`)."""
        self._config, self._out = config, out
        self._benchmark = benchmarks.get(config.benchmark)
        self._judge = None if config.judge is None else JudgeClient(config.judge)
        self._grader = GraderProcess(config.graded_by)
        self._in_flight = asyncio.Semaphore(config.concurrency)
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

    async def records(self, task: Task) -> list[dict[str, Any]]:
        """Lines of `samples.jsonl`: one, or one for each answer of a thought. Raises
        ServerGoneError."""
        return [await self._grade(row) for row in await self._ask(task)]

    async def _ask(self, task: Task) -> list[dict[str, Any]]:
        prompt = self._config.prompt or self._benchmark.prompt
        text = benchmarks.render(prompt, task.question.question)
        request = body(self._config, task, text)
        completion, found = await self._chat(request)
        if not task.answers:
            row = self._row(task, Answer(task.sample, task.seed), text, found)
            return [self._with_trace(row, completion)]
        if (handle := forking.handle_of(completion)) is None:
            outcomes = forking.without_answers(found, len(task.answers))
        else:
            spent = found["completion_tokens"]
            bodies = [forking.answer(request, handle, a.seed, spent) for a in task.answers]
            answers = await asyncio.gather(*map(self._chat, bodies))
            outcomes = forking.joined(found, [outcome for _, outcome in answers])
        pairs = zip(task.answers, outcomes, strict=True)
        return [self._row(task, one, text, outcome) for one, outcome in pairs]

    async def _chat(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """A completion, and what it says."""
        async with self._in_flight:
            started = time.monotonic()
            completion = await self.client.patient_chat(request)
            seconds = round(time.monotonic() - started, 4)
        return completion, outcome(completion, self.think) | {"latency_s": seconds}

    def _row(
        self, task: Task, one: Answer, prompt: str, found: Mapping[str, Any]
    ) -> dict[str, Any]:
        row = {
            "benchmark": self._config.benchmark,
            "method": task.method.name,
            "question": task.question.id,
            "sample": one.sample,
            "seed": one.seed,
            **found,
            "gold": task.question.answer,
            "prompt": prompt,
        }
        asked = self.served[task.method.name]
        wrong = None if row["error"] else other_method(asked, row["thinking_method"])
        return failed(row, wrong) if wrong else row

    def _with_trace(self, row: dict[str, Any], completion: Mapping[str, Any]) -> dict[str, Any]:
        """The file is there before the record that names it."""
        if self._out is None or row["status"] == "failed":
            return row
        if not self._config.keeps_trace(row["sample"]):
            return row
        key = Key(*(row[name] for name in Key._fields))
        try:
            return row | {"trace": kept.keep(self._out, key, completion)}
        except ValueError as error:
            return failed(row, f"malformed answer: trace: {error}")

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
