"""A run: every question, sample and method asked once, recorded as it comes.

Methods take turns within each question, so that noise of the machine and load of the server fall on
all alike.
"""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sglang_soft_evals import benchmarks, graders, loading, provenance, setup
from sglang_soft_evals.client import Client, ServerGoneError
from sglang_soft_evals.config import RunConfig
from sglang_soft_evals.hub import Question
from sglang_soft_evals.judge import JudgeClient
from sglang_soft_evals.progress import Progress
from sglang_soft_evals.records import Key, Records
from sglang_soft_evals.sample import Task, seed_of
from sglang_soft_evals.server import running

SAVE_EVERY = 5.0
"""Seconds between two updates of run.json: what a kill can take off the recorded wall time."""


class Outcome(NamedTuple):
    complete: bool
    """Every sample has a record."""
    statuses: dict[str, int]
    """Records by status."""
    stopped: str | None
    """Why the run ended early: `interrupted`, or what became of the server."""


def execute(config: RunConfig, out: Path, *, retry_failed: bool = False) -> Outcome:
    """Run or resume. Writes `samples.jsonl` and `run.json` in `out`.

    Raises:
        ValueError: unreadable data, another run in `out`, a server that does not start or refuses a
        method.
    """
    run = setup.check_resumable(out / "run.json", config)
    questions = loading.load(
        benchmarks.get(config.benchmark),
        Path(config.data) if config.data else None,
        config.questions,
        config.seed,
    )
    out.mkdir(parents=True, exist_ok=True)
    records = Records(out / "samples.jsonl", retry_failed=retry_failed)
    try:
        if records.done and run is None:
            raise ValueError(f"{out} has samples but no run.json; choose another --out.")
        with running(config.server, out / "server.log") as base_url:
            return asyncio.run(_Session(config, out, questions, records, run, base_url).go())
    finally:
        records.close()


def tasks(config: RunConfig, questions: list[Question], done: dict[Key, Any]) -> Iterator[Task]:
    """Every sample that has no record yet; methods innermost."""
    for sample in range(config.samples):
        for question in questions:
            seed = seed_of(config.seed, question.id, sample)
            for method in config.methods:
                if Key(method.name, question.id, sample) not in done:
                    yield Task(method, question, sample, seed)


class _Session:
    """One stretch of a run, from a start or resume to its end."""

    def __init__(
        self,
        config: RunConfig,
        out: Path,
        questions: list[Question],
        records: Records,
        run: dict[str, Any] | None,
        base_url: str,
    ) -> None:
        self.config, self.out, self.questions, self.records, self.run = (
            config,
            out,
            questions,
            records,
            run,
        )
        self.client: Client
        self.base_url = base_url
        self.stopped: str | None = None
        row = benchmarks.get(config.benchmark)
        self.grader, self.prompt = row.grader, config.prompt or row.prompt

    async def go(self) -> Outcome:
        self.client = Client(self.base_url, self.config)
        self.judge = None if self.config.judge is None else JudgeClient(self.config.judge)
        try:
            for note in await setup.check_methods(self.client, self.config, self.questions[0]):
                print(f"note: {note}")
            if self.run is None:
                self.run = await setup.describe(self.client, self.config, len(self.questions))
            await self._ask_all()
        except ServerGoneError as error:
            raise ValueError(f"the server does not answer: {error}") from error
        finally:
            await self.client.close()
        return Outcome(self.run["complete"], dict(self.records.count()), self.stopped)

    async def _ask_all(self) -> None:
        assert self.run is not None
        self._began, self._before, self._wall = (
            time.monotonic(),
            len(self.records.done),
            self.run["wall_s"],
        )
        self.run["sessions"].append(
            {"started": provenance.now(), "ended": provenance.now(), "records": 0}
        )
        total = len(self.questions) * self.config.samples
        progress = Progress(
            [m.name for m in self.config.methods], total, self.records.done.values()
        )
        queue = tasks(self.config, self.questions, dict(self.records.done))
        workers = [
            asyncio.create_task(self._work(queue, progress)) for _ in range(self.config.concurrency)
        ]
        saver = asyncio.create_task(self._keep_saving())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt, workers)
        try:
            for result in await asyncio.gather(*workers, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
            saver.cancel()
            progress.close()
            self._save()

    def _interrupt(self, workers: list[asyncio.Task]) -> None:
        self.stopped = self.stopped or "interrupted"
        for worker in workers:
            worker.cancel()

    async def _work(self, queue: Iterator[Task], progress: Progress) -> None:
        for task in queue:
            if self.stopped:
                return
            try:
                record = await self.client.ask(
                    self.config, task, benchmarks.render(self.prompt, task.question.question)
                )
                record = await self._grade(record, task.question)
            except ServerGoneError as error:
                self.stopped = self.stopped or str(error)
                return
            self.records.append(record)
            progress.tick(record)

    async def _grade(self, record: dict[str, Any], question: Question) -> dict[str, Any]:
        """Failed records are not graded; truncated ones are, as they stand."""
        record["grader"] = self.grader
        if record["status"] == "failed":
            return record
        record["correct"], record["answer"] = graders.grade(
            self.grader, record["text"], question.answer
        )
        if self.judge is not None and record["correct"] is False:
            record["grader"] += f"+judge:{self.config.judge.model}"  # type: ignore[union-attr]
            record["correct"] = await self.judge.says_yes(record)
        return record

    async def _keep_saving(self) -> None:
        while True:
            self._save()
            await asyncio.sleep(SAVE_EVERY)

    def _save(self) -> None:
        assert self.run is not None
        done = self.records.done
        self.run["sessions"][-1] |= {"ended": provenance.now(), "records": len(done) - self._before}
        self.run["wall_s"] = round(self._wall + time.monotonic() - self._began, 3)
        tokens = sum(record["completion_tokens"] for record in done.values())
        self.run["tokens_per_s"] = round(tokens / max(self.run["wall_s"], 1e-3), 1)
        self.run["complete"] = len(done) == len(self.questions) * self.config.samples * len(
            self.config.methods
        )
        setup.save(self.out / "run.json", self.run)
