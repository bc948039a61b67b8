"""One stretch of a run, from its start (or resumption) to its end."""

import asyncio
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sglang_soft_evals import controls, preflight, provenance
from sglang_soft_evals.asking import Asker
from sglang_soft_evals.client import ServerGoneError
from sglang_soft_evals.config import RunConfig
from sglang_soft_evals.controls import Control
from sglang_soft_evals.hub import Question
from sglang_soft_evals.progress import Progress
from sglang_soft_evals.record import failed_methods
from sglang_soft_evals.records import Records
from sglang_soft_evals.rundir import RUN
from sglang_soft_evals.sample import Task

SAVE_EVERY = 5.0
"""Seconds between two updates of run.json: the wall time that a kill can lose."""


class Outcome(NamedTuple):
    complete: bool
    """Every sample has a record."""
    statuses: dict[str, int]
    """Records by status."""
    stopped: str | None
    """Why the run ended early: `interrupted`, or what happened to the server."""
    errors: dict[str, str]
    """Methods of which every request failed, with the most frequent error."""


class Session:
    """Asks, grades and records until nothing is left or something stops it."""

    def __init__(
        self,
        config: RunConfig,
        out: Path,
        questions: list[Question],
        records: Records,
        run: dict[str, Any] | None,
        base_url: str,
        api_key: str | None,
    ) -> None:
        self._config, self._out, self._questions = config, out, questions
        self._records, self._run = records, run
        self._base_url, self._api_key = base_url, config.server.api_key or api_key
        self._stopped: str | None = None
        self._controls: list[Control] | None = None
        """None: not made yet."""

    async def go(self, tasks: Iterator[Task]) -> Outcome:
        """tasks: those of the run file's methods; their controls come after them."""
        self._asker = Asker(self._config, self._base_url, self._api_key, self._out)
        try:
            await self._prepare()
            self._start()
            names = [method.name for method in self._config.methods]
            await self._ask_all(tasks, names)
            if not self._stopped:
                await self._ask_controls()
        except ServerGoneError as error:
            raise ValueError(f"the server does not answer: {error}") from error
        finally:
            await self._asker.close()
        assert self._run is not None
        records = self._records
        statuses, errors = dict(records.count()), failed_methods(records.done.values())
        return Outcome(self._run["complete"], statuses, self._stopped, errors)

    async def _prepare(self) -> None:
        """Raises ValueError if the server cannot do what the run asks for."""
        client, config, questions = self._asker.client, self._config, self._questions
        found = await preflight.check_methods(client, config, questions)
        for note in found.notes:
            print(f"note: {note}")
        identity = await preflight.identity(client, config, questions)
        if self._run is None:
            self._run = await preflight.describe(client, config, identity, found, len(questions))
        preflight.check_same_methods(self._run, found.served)
        preflight.check_same_server(self._run, identity)
        self._asker.served, self._asker.think = found.served, found.think

    async def _ask_controls(self) -> None:
        """Make the controls from the records, and ask what they have not been asked yet."""
        config, records = self._config, self._records
        samples = [(q.id, sample) for sample in range(config.samples) for q in self._questions]
        made = controls.make(
            config.controls, config.methods, records.done.values(), samples, config.seed
        )
        if stale := controls.stale(made, records.done.values()):
            print(f"note: {len(stale):,} records of controls that were made from other records go")
            records.drop(stale)
        assert self._run is not None
        self._run["methods"] = controls.entries(self._run["methods"], made)
        for control in made:
            self._asker.served[control.name] = self._asker.served[control.method.name]
            if why := control.facts.get("not_run"):
                print(f"note: {control.name} is not run: {why}")
        self._controls = made
        self._save()  # no record comes before run.json names its control
        names = [control.name for control in made if control.bounds]
        todo = controls.tasks(
            made, self._questions, config.benchmark, config.samples, config.seed, records.done
        )
        await self._ask_all(todo, names)

    def _start(self) -> None:
        assert self._run is not None
        self._began, self._wall = time.monotonic(), self._run["wall_s"]
        self._before = len(self._records.done)
        now = provenance.now()
        self._run["sessions"].append({"started": now, "ended": now, "records": 0})

    async def _ask_all(self, tasks: Iterator[Task], names: list[str]) -> None:
        """names: the methods whose progress is shown."""
        total = len(self._questions) * self._config.samples
        self._progress = Progress(names, total, self._records.done.values())
        count = self._config.concurrency
        workers = [asyncio.create_task(self._work(tasks)) for _ in range(count)]
        saver = asyncio.create_task(self._keep_saving())
        loop, signals = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
        for number in signals:
            loop.add_signal_handler(number, self._cancel, workers, "interrupted")
        try:
            done, rest = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            for worker in done:
                if not worker.cancelled() and (error := worker.exception()) is not None:
                    self._cancel(rest, repr(error))
                    await asyncio.gather(*rest, return_exceptions=True)
                    raise error
        finally:
            for number in signals:
                loop.remove_signal_handler(number)
            saver.cancel()
            self._progress.close()
            self._save()

    def _cancel(self, workers: Iterable[asyncio.Task], why: str) -> None:
        # The text also stops a worker that loses its cancellation, as asyncio.wait_for allows
        # before Python 3.12.
        self._stopped = self._stopped or why
        for worker in workers:
            worker.cancel()

    async def _work(self, tasks: Iterator[Task]) -> None:
        for task in tasks:
            if self._stopped:
                return
            try:
                rows = await self._asker.records(task)
            except ServerGoneError as error:
                self._stopped = self._stopped or str(error)
                return
            for row in rows:
                self._progress.tick(self._records.append(row))

    async def _keep_saving(self) -> None:
        while True:
            self._save()
            await asyncio.sleep(SAVE_EVERY)

    def _save(self) -> None:
        assert self._run is not None
        run, done, config = self._run, self._records.done, self._config
        run["sessions"][-1] |= {"ended": provenance.now(), "records": len(done) - self._before}
        run["wall_s"] = round(self._wall + time.monotonic() - self._began, 3)
        tokens = sum(record.completion_tokens for record in done.values())
        run["tokens_per_s"] = round(tokens / max(run["wall_s"], 1e-3), 1)
        more = [control for control in self._controls or () if control.bounds]
        total = len(self._questions) * config.samples * (len(config.methods) + len(more))
        made = self._controls is not None or not config.controls
        run["complete"] = made and len(done) == total
        preflight.save(self._out / RUN, run)
